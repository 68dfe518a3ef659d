"""What can go wrong in training and be mended by its user."""


def first_line(error: object) -> str:
    """What an error says, without what follows in other lines."""
    return next(iter(str(error).strip().splitlines()), repr(error))


class TrainingError(ValueError):
    """One line that names the file or option, what was expected, what was found, what to do."""


class UnreadableImage(TrainingError):
    """A training image that cannot be used; `name` is the image, `reason` what is wrong."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason

    def __reduce__(self) -> "tuple[type[UnreadableImage], tuple[str, str]]":
        return type(self), (self.name, self.reason)
