// Problems of the page's layout as lines of text: overlaps, cut or faint or tiny text, missing pictures, scrolling.
(() => {
  const TOLERANCE = 2, SMALLEST_FONT = 10.5, LEAST_CONTRAST = 4.5;
  const problems = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) problems.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);

  const seen = element => element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true});
  const name = box => `"${box.text.slice(0, 40)}" at ${Math.round(box.left)},${Math.round(box.top)}`;
  const boxes = [];
  const add = (element, rect, text) => {
    if (rect.width > 0 && rect.height > 0) {
      const {left, top, right, bottom} = rect;
      boxes.push({element, left, right, top: top + scrollY, bottom: bottom + scrollY, text});
    }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || element.closest("script, style, svg") || !seen(element)) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const rect of range.getClientRects()) add(element, rect, text);
  }
  for (const text of document.querySelectorAll("svg text")) {
    if (seen(text) && text.textContent.trim()) add(text, text.getBoundingClientRect(), text.textContent);
  }
  for (const figure of document.querySelectorAll(".js-plotly-plot")) {
    if (seen(figure)) add(figure, figure.getBoundingClientRect(), "figure");
  }
  for (const picture of document.querySelectorAll("img")) {
    if (!seen(picture)) continue;
    if (!picture.naturalWidth) problems.push(`no picture: ${picture.alt}`);
    add(picture, picture.getBoundingClientRect(), picture.alt);
  }

  boxes.sort((one, other) => one.top - other.top);
  boxes.forEach((one, index) => {
    for (let place = index + 1; place < boxes.length && boxes[place].top < one.bottom - TOLERANCE; place++) {
      const other = boxes[place];
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue;
      const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const height = Math.min(one.bottom, other.bottom) - other.top;
      if (width > TOLERANCE && height > TOLERANCE) problems.push(`${name(one)} overlaps ${name(other)}`);
    }
    if (one.right > root.clientWidth + TOLERANCE) problems.push(`${name(one)} is beyond the right edge`);
  });

  const channels = colour => (colour.match(/[\d.]+/g) || []).map(Number);
  const luminance = colour => {
    const [red, green, blue] = channels(colour).slice(0, 3).map(value => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor, alpha = channels(colour)[3];
      if (colour !== "transparent" && alpha !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const read = new Set();
  for (const box of boxes) {
    if (read.has(box.element) || box.element.matches("img, .js-plotly-plot")) continue;
    read.add(box.element);
    const style = getComputedStyle(box.element);
    const size = parseFloat(style.fontSize);
    if (size < SMALLEST_FONT) problems.push(`${name(box)} is ${size} px small`);
    const [light, dark] = [luminance(box.element.closest("svg") ? style.fill : style.color), luminance(ground(box.element))]
      .sort((one, other) => other - one);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < LEAST_CONTRAST) problems.push(`${name(box)} has a contrast of ${contrast.toFixed(1)}`);
  }

  for (const element of document.querySelectorAll("body *")) {
    const {overflowX} = getComputedStyle(element);
    if (!element.closest("svg") && overflowX !== "visible" && element.scrollWidth > element.clientWidth + TOLERANCE && seen(element))
      problems.push(`<${element.tagName.toLowerCase()} class="${element.className}"> hides ${element.scrollWidth - element.clientWidth} px`);
  }
  return problems;
})()
