/** Run in a page (test/e2e/playground.test.ts): what has the focus, and whether an outline shows it, its own or that of what it is in. */
(() => {
  const outlined = (element) =>
    element !== null && (getComputedStyle(element).outlineStyle !== 'none' || outlined(element.parentElement));
  const active = document.activeElement;
  const name =
    active.id || active.getAttribute('aria-label') || active.textContent.trim() || active.getAttribute('type');
  return { name: `${active.tagName} ${name}`, isMarked: active === document.body || outlined(active) };
})();
