"""One explorer on a page, as a reader meets it: labels, keys, numbers, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qutils.errors import QutilsError

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

#: Longest time [ms] to wait for an answer; the page itself speaks up after 8 seconds.
PATIENCE = 60_000
# Waits for a change of the page: to ask in every frame would have the browser paint every frame.
_SETTLE = """(root, patience) => new Promise((done, failed) => {
  const settled = () => root.dataset.shown !== undefined && (root.dataset.request === undefined ||
    Number(root.dataset.shown) >= Number(root.dataset.request));
  const end = () => (watch.disconnect(), clearTimeout(timer), done());
  const late = () => (watch.disconnect(), failed(new Error(`no answer within ${patience} ms`)));
  const watch = new MutationObserver(() => settled() && end());
  const timer = setTimeout(late, patience);
  watch.observe(root, {attributes: true, attributeFilter: ["data-shown", "data-request"]});
  if (settled()) end();
})"""
_PIXELS = """async root => {
  const image = root.querySelector("figure img");
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const digest = await crypto.subtle.digest("SHA-256", rgba);
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}"""
_FACTS = """root => Object.fromEntries(
  [...root.querySelectorAll("[data-fact]")].map((dd) => [dd.dataset.fact, dd.textContent]))"""
_SEEN = f"""async root => {{
  const problem = root.querySelector(".problem");
  return {{
    setting: [...root.querySelectorAll(".controls input, .controls select")]
      .map((input) => Number(input.value)),
    problem: problem.checkVisibility({{visibilityProperty: true}}) ? problem.innerText : "",
    facts: ({_FACTS})(root),
    note: root.querySelector(".note")?.textContent ?? "",
    alt: root.querySelector("figure img").getAttribute("alt") ?? "",
    pixels: await ({_PIXELS})(root),
  }};
}}"""
_CONTROLS = """root => [...root.querySelectorAll(".controls label")].map((label) => {
  const input = label.querySelector("input, select");
  const count = input.tagName === "SELECT" ? input.options.length : Number(input.max) + 1;
  return {label: label.querySelector("span").textContent, menu: input.tagName === "SELECT", count};
})"""


@dataclass(frozen=True)
class Shown:
    """A control on the page: its label, whether it is a menu, how many options it has."""

    label: str
    menu: bool
    count: int


@dataclass(frozen=True)
class Seen:
    """What an explorer shows at a setting: see the methods of ``Explored`` of the same names."""

    setting: list[int]
    problem: str
    facts: dict[str, str]
    note: str
    alt: str
    pixels: str


class Explored:
    """The explorer in ``root`` (a ``.qx`` section), moved by keyboard."""

    def __init__(self, root: Locator) -> None:
        self.root = root

    @property
    def page(self) -> Page:
        """The page that it stands on."""
        return self.root.page

    @property
    def title(self) -> str:
        """Its accessible name."""
        return self.root.get_attribute("aria-label") or ""

    @property
    def controls(self) -> tuple[Shown, ...]:
        """What can be moved, in order."""
        return tuple(Shown(**plain) for plain in self.root.evaluate(_CONTROLS))

    def input(self, control: Shown) -> Locator:
        """The control's element, found by its label, as a screen reader finds it."""
        return self.root.get_by_label(control.label, exact=True)

    def at(self, control: Shown) -> int:
        """Index of the option that a control stands at."""
        return int(self.input(control).input_value())

    def setting(self) -> list[int]:
        """Index of the option of each control."""
        return [self.at(control) for control in self.controls]

    def go(self, control: Shown, index: int) -> None:
        """Move to an option by keyboard, from the nearer end if that is nearer than where it is.

        The keys follow one another as in a drag; the picture answers the last one, at least.

        Raises:
            QutilsError: a key did not move the control.
        """
        self.input(control).focus()
        now, last = self.at(control), control.count - 1
        for end, name in ((0, "Home"), (last, "End")):
            if abs(index - end) + 1 < abs(index - now) and now != end:
                now = self._moved(control, name, now)
        while now != index:
            now = self._moved(control, key(control, index > now), now)
        self.settle()

    def _moved(self, control: Shown, name: str, before: int) -> int:
        self.page.keyboard.press(name)
        if (now := self.at(control)) == before:
            raise QutilsError(f"{self.title}: {name} does not move {control.label!r} from {now}")
        return now

    def press(self, control: Shown, forward: bool) -> None:
        """One step with an arrow key, and wait for the answer."""
        self.page.keyboard.press(key(control, forward))
        self.settle()

    def settle(self) -> None:
        """Wait until the picture answers the last move."""
        self.root.evaluate(_SETTLE, PATIENCE)

    def seen(self) -> Seen:
        """All that is shown, asked for at once."""
        return Seen(**self.root.evaluate(_SEEN))

    def facts(self) -> dict[str, str]:
        """Text of each number by its name."""
        return dict(self.root.evaluate(_FACTS))

    def note(self) -> str:
        """Text under the numbers; of a cell out of sight, too, which JupyterLab does not render."""
        return self.root.locator(".note").first.text_content() or "" if self._has(".note") else ""

    def alt(self) -> str:
        """Description of the picture."""
        return self.root.locator("figure img").get_attribute("alt") or ""

    def pixels(self) -> str:
        """SHA-256 of the picture's pixels (RGBA, 8 bits each), in hex."""
        return str(self.root.evaluate(_PIXELS))

    def problem(self) -> str:
        """The complaint that is shown, empty if there is none."""
        place = self.root.locator(".problem")
        return place.inner_text() if place.is_visible() else ""

    def busy(self) -> bool:
        """Whether the mark of a computation at work is shown."""
        return self.root.locator(".busy").is_visible()

    def _has(self, selector: str) -> bool:
        return self.root.locator(selector).count() > 0


def key(control: Shown, forward: bool) -> str:
    """The arrow key that moves a control."""
    if control.menu:
        return "ArrowDown" if forward else "ArrowUp"
    return "ArrowRight" if forward else "ArrowLeft"


def explorers(page: Page) -> list[Explored]:
    """Every explorer of a page, each with its first picture."""
    sections: Any = page.locator("section.qx")
    found = [Explored(section) for section in sections.all()]
    for explored in found:
        explored.root.scroll_into_view_if_needed()
        explored.settle()
    return found
