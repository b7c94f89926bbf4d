"""Progress that tests can inspect."""

from sonjit._util.pools import Progress


class ProgressLog(Progress):
    """Log of totals, steps and instances in the order of the calls; `then` is called after each step."""

    def __init__(self, then=lambda: None):
        self.totals, self.steps, self.instances = [], [], 0
        self._then = then

    def start(self, total):
        self.totals.append(total)

    def advance(self, count=1, *, instances=0):
        self.steps.append(count)
        self.instances += instances
        self._then()
