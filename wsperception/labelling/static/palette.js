// One colour per id, the same as in wsperception's overlays (wsperception/overlay.py, track_colour).

const GOLDEN_RATIO = 0.6180339887;
export const NO_ID = "rgb(170, 170, 170)";

export function trackColour(id) {
  if (id === null) return NO_ID;
  const [red, green, blue] = fromHsv((id * GOLDEN_RATIO) % 1, [0.95, 0.65, 0.8][id % 3], 1);
  return `rgb(${red}, ${green}, ${blue})`;
}

/** Black or white, whichever is legible on a colour of trackColour. */
export function inkOn(colour) {
  const [red, green, blue] = colour.match(/\d+/g).map(Number);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}

function fromHsv(hue, saturation, value) {
  const sector = Math.floor(hue * 6);
  const rest = hue * 6 - sector;
  const low = value * (1 - saturation);
  const falling = value * (1 - saturation * rest);
  const rising = value * (1 - saturation * (1 - rest));
  const channels = [
    [value, rising, low], [falling, value, low], [low, value, rising],
    [low, falling, value], [rising, low, value], [value, low, falling],
  ][sector % 6];
  return channels.map((channel) => Math.round(channel * 255));
}
