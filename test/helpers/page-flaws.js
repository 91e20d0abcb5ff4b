/** Run in a page (test/e2e/playground.test.ts): texts whose contrast is below WCAG's AA for their size, and what sticks out of the window. */
(() => {
  const channels = (colour) => {
    const [r = 0, g = 0, b = 0, a = 1] = (colour.match(/[\d.]+/g) ?? []).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((x) => (x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element) => {
    if (element === null) return [255, 255, 255];
    const { rgb, a } = channels(getComputedStyle(element).backgroundColor);
    return a === 0 ? groundOf(element.parentElement) : rgb;
  };
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    const { width, height, left, right } = element.getBoundingClientRect();
    if (width === 0 || height === 0 || right < 0) continue; // the link that shows itself when it is reached
    if (right > innerWidth + 1 || left < -1)
      found.push(`${element.tagName} ${element.className} sticks out: ${left} ${right}`);
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '');
    if (!hasText) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(element);
    const [light, dark] = [luminance(channels(color).rgb), luminance(groundOf(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    const size = Number.parseFloat(fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(fontWeight) >= 700);
    if (contrast < (isLarge ? 3 : 4.5)) found.push(`${element.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return found;
})();
