"""What holds for every explorer on every kind of page."""

from __future__ import annotations

import re

from qutils.lab.browser.explored import Explored, Shown, key
from tests.browser.reference import Reference, compare, matches, walk

#: Least contrast of text against what is behind it (WCAG 2.2, AA).
CONTRAST = 4.5
_SAMPLER = """root => {
  const found = (window.qxFrames = []);
  window.qxSampling = true;
  const look = () => {
    const image = root.querySelector("figure img");
    const whole = image && image.complete && image.naturalWidth > 0 && image.clientHeight > 0;
    found.push(Boolean(whole));
    if (window.qxSampling) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
_OUTPUT = "input => input.labels[0].querySelector('output').textContent"
_COLOURS = """root => {
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/rgba\\(.*, 0\\)|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const kinds = "span, output, select, dt, dd, .note, th, td, .busy, .problem";
  const texts = [...root.querySelectorAll(kinds)];
  return texts.map((e) => [e.className || e.tagName, getComputedStyle(e).color, behind(e)]);
}"""


def right_wherever_it_is_moved(page: Explored, reference: Reference) -> None:
    """Every control, by keyboard: numbers, words, pixels equal the library's, and change with them.

    A control may depend on another (a group's size, on groups): one that changes nothing where the
    notebook starts is moved again with the others at their last option, then at their first.
    """
    matches(page, reference)
    compare(page, reference)
    idle = [control for control in page.controls if not _changes(page, control, reference)]
    for last in (True, False):
        for control in page.controls if idle else ():
            page.go(control, control.count - 1 if last else 0)
        idle = [control for control in idle if not _changes(page, control, reference)]
    assert not idle, f"{page.title}: {', '.join(c.label for c in idle)}: nothing changes"


def moves_and_is_right(page: Explored, reference: Reference) -> None:
    """Each control to either end and back: the wiring, where all options are checked elsewhere."""
    compare(page, reference)
    for control in page.controls:
        start = page.at(control)
        for index in {control.count - 1, 0} - {start}:
            page.go(control, index)
            compare(page, reference)
        page.go(control, start)
    compare(page, reference)


def _changes(page: Explored, control: Shown, reference: Reference) -> bool:
    """Walk through samples of the options and back; whether what is shown changed."""
    start, shown = page.at(control), set()
    for _ in walk(page, control):
        seen = compare(page, reference)
        shown.add(seen.pixels + str(seen.facts) + seen.note)
    page.go(control, start)
    compare(page, reference)
    return len(shown) > 1


def never_blank(page: Explored, moves: int = 50) -> None:
    """A picture in each animation frame while controls are moved back and forth."""
    control = max(page.controls, key=lambda control: control.count)
    page.input(control).focus()
    page.root.evaluate(_SAMPLER)
    forward = True
    for _ in range(moves):
        at = page.at(control)
        forward = (forward or at == 0) and at < control.count - 1
        page.page.keyboard.press(key(control, forward))
    page.settle()
    frames = page.page.evaluate("() => (window.qxSampling = false, window.qxFrames)")
    assert len(frames) >= 10
    assert all(frames), f"{frames.count(False)} of {len(frames)} frames without a picture"


def reachable_and_named(page: Explored) -> None:
    """Tab reaches every control in order; its label is its name; sliders tell their text too."""
    page.input(page.controls[0]).focus()
    for control in page.controls:
        focused = page.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
        assert focused == control.label
        role = "combobox" if control.menu else "slider"
        assert page.root.get_by_role(role, name=control.label, exact=True).count() == 1
        if not control.menu:
            text = page.input(control).get_attribute("aria-valuetext")
            assert text
            assert text == page.input(control).evaluate(_OUTPUT)
        page.page.keyboard.press("Tab")
    assert page.root.get_attribute("aria-label")
    assert page.alt()
    assert page.root.locator(".numbers").get_attribute("aria-live") == "polite"


def fits(page: Explored) -> None:
    """Nothing sticks out of the explorer, nor the explorer out of its page."""
    sizes = page.root.evaluate(
        """root => {
          const box = root.getBoundingClientRect();
          const whole = [...root.querySelectorAll(":not(table *, pre *)")]; // those two scroll
          const parts = whole.map((e) => e.getBoundingClientRect());
          return {
            scroll: root.scrollWidth - root.clientWidth,
            out: Math.max(0, ...parts.map((part) => part.right - box.right)),
            width: box.width,
            room: root.parentElement.getBoundingClientRect().width,
          };
        }"""
    )
    assert sizes["scroll"] <= 0, sizes
    assert sizes["out"] <= 0.5, sizes
    assert sizes["width"] <= sizes["room"] + 0.5, sizes
    assert sizes["width"] > 300, sizes


def legible(page: Explored) -> None:
    """Every text stands out from what is behind it."""
    for name, text, behind in page.root.evaluate(_COLOURS):
        found = contrast(text, behind)
        assert found >= CONTRAST, f"{name}: {found:.1f} to 1 ({text} on {behind})"


def contrast(one: str, other: str) -> float:
    """Contrast of two CSS colours (WCAG 2.2): 1 for equal ones, 21 for black on white."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
