"""CasSR: cascaded diffusion for real-world image super-resolution.

``cassr.CasSRPipeline.from_pretrained(folder_or_hub_id)(image)`` upscales an image. Importing this
package loads nothing heavy; the names in `__init__.pyi` are resolved when they are first used.
"""

import logging

import lazy_loader

# diffusers imports it where it is installed; on some CPUs it then warns of what nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
