'use strict';
// Charts of the view that is open. Colours come from the style sheet, so that both themes have their own.

const open_charts = [];
let pending_charts = [];

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim(); }

// Okabe and Ito's colours (dark or light by theme), with a mark and a dash each: lines differ without colour too.
const MARKS = ['circle', 'rect', 'triangle', 'rectRot', 'crossRot', 'star', 'cross'];
const DASHES = [[], [6, 3], [2, 3], [10, 3, 2, 3]];
function lineStyle(i) {
  const line = colour(`line${i % 7}`);
  return {
    borderColor: line, backgroundColor: line, borderWidth: 2, pointRadius: 4, pointStyle: MARKS[i % MARKS.length],
    borderDash: DASHES[Math.floor(i / 7) % DASHES.length],
  };
}

// A box with a chart, painted when the view is in the page.
function chart(label, height, config) {
  const canvas = el('canvas', {role: 'img', 'aria-label': label});
  pending_charts.push({canvas, config});
  return el('div', {class: 'chart', vars: {'--height': `${height}px`}}, canvas);
}

function closeCharts() {
  while (open_charts.length > 0) open_charts.pop().destroy();
  pending_charts = [];
}

function paintCharts() {
  Object.assign(Chart.defaults, {
    animation: false, responsive: true, maintainAspectRatio: false, color: colour('text'), borderColor: colour('rule'),
  });
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 12;
  Chart.defaults.plugins.legend.labels.usePointStyle = true;
  Chart.defaults.plugins.legend.labels.boxHeight = 7;
  Chart.defaults.plugins.legend.align = 'start';
  for (const {canvas, config} of pending_charts) open_charts.push(new Chart(canvas, config));
  pending_charts = [];
}

function axis(title, more = {}) {
  return {title: {display: true, text: title}, grid: {color: colour('rule')}, ...more};
}

// A logarithmic axis whose ticks are few and legible.
function logAxis(title, format, values, base = 10) {
  const usable = values.filter(x => x > 0 && Number.isFinite(x));
  const low = Math.min(...usable), high = Math.max(...usable);
  const steps = base === 2 ? [1] : high / low > 100 ? [1] : high / low > 20 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  const first = Math.floor(Math.log(low) / Math.log(base)) - 1, last = Math.ceil(Math.log(high) / Math.log(base)) + 1;
  for (let power = first; power <= last; ++power) {
    for (const step of steps) ticks.push(step * base ** power);
  }
  const below = ticks.filter(t => t < low * 0.999).pop() ?? low, above = ticks.find(t => t > high * 1.001) ?? high;
  const shown_ticks = ticks.filter(t => t >= below && t <= above);
  return axis(title, {
    type: 'logarithmic', min: base === 2 ? low / 1.15 : below, max: base === 2 ? high * 1.15 : above,
    afterBuildTicks: scale => {
      scale.ticks = shown_ticks.filter(t => t >= scale.min && t <= scale.max).map(value => ({value}));
    },
    ticks: {callback: value => format(value), autoSkip: false},
  });
}

function short(x) {
  const units = ['', 'k', 'M', 'G', 'T'];
  let unit = 0;
  for (; Math.abs(x) >= 1000 && unit < 4; ++unit) x /= 1000;
  return `${Number(x.toPrecision(3))}${units[unit]}`;
}

// A horizontal bar of the document, share of the width in 0…1.
function bar(share, kind = '') {
  const width = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 1));
  return el('span', {class: `bar ${kind}`, 'aria-hidden': 'true', vars: {'--share': `${(100 * width).toFixed(1)}%`}});
}
