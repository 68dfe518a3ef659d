"""A server of HTTP on loopback, in a thread of the tests' own process."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback(ThreadingHTTPServer):
    """Answers by `handler` until it is closed; also a context.

    Attributes:
        address: "http://..." without a slash at its end.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        # It looks that often whether it shall end, for which every test waits.
        threading.Thread(target=self.serve_forever, args=(0.005,), daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()
