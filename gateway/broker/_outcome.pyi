from .interface import PublishResult

class Outcome:
    known: bool
    problem: Exception | None
    def settle(self, outcome: PublishResult | Exception) -> None: ...
    @property
    def outcome(self) -> PublishResult | Exception | None: ...
