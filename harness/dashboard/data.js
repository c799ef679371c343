'use strict';
// The results that the program put into the page (harness/dashboard/model.h), as objects.

const MODEL = JSON.parse(document.getElementById('data').textContent);
const OUTS = ['o', 'dq', 'dk', 'dv'];
const RED = new Set(['FAIL', 'MISTRUSTED', 'XPASS']);

// What JSON cannot hold is written in words.
function figure(x) {
  return x === 'nan' ? NaN : x === 'inf' ? Infinity : x === '-inf' ? -Infinity : x;
}

function unpack(columns, cells) {
  const object = Object.create(null);
  columns.forEach(({name}, i) => {
    object[name] = Array.isArray(cells[i]) ? cells[i].map(figure) : figure(cells[i]);
  });
  return object;
}

// {count, of: {column: [a figure a rank]}}
function unpackRanks(packed) {
  if (!packed) return null;
  const [ranks, ...cells] = packed;
  const spread = list => list.length === 1 ? new Array(ranks).fill(figure(list[0])) : list.map(figure);
  const of = Object.create(null);
  MODEL.columns.rank.forEach(({name}, i) => { of[name] = spread(cells[i]); });
  return {count: ranks, of};
}

const ROWS = MODEL.rows.map((packed, index) => {
  const row = {...packed, index, run: MODEL.runs[packed.run]};
  row.case = Object.create(null);
  MODEL.columns.case.forEach((column, i) => { row.case[column] = packed.case[i]; });
  for (const name of ['variant', 'operator', 'dtype', 'math']) row.case[name] ??= '–';
  row.tensors = Object.create(null);
  for (const out of OUTS) {
    if (!packed.tensors[out]) continue;
    const tensor = unpack(MODEL.columns.tensor, packed.tensors[out]);
    const beyond = (x, limit) => x !== null && !(x <= limit);
    tensor.out = out;  // rows of schema 2 do not say whose a finding is: their figures do
    tensor.red = row.findings.some(f => f.tensor === out) || tensor.failed > 0 || beyond(tensor.bound_share, 1) ||
        beyond(tensor.row_share, 1) || beyond(tensor.error_share, 1) || beyond(tensor.bias, tensor.bias_limit ?? Infinity);
    row.tensors[out] = tensor;
  }
  row.figures = unpack(MODEL.columns.figures, packed.figures ?? []);
  row.world = (row.case.dp ?? 1) * (row.case.sp ?? 1);
  row.ranks = unpackRanks(packed.ranks);
  row.red = RED.has(row.status);
  row.ran = row.status !== 'skip';
  row.timed = row.figures.forward_backward_s > 0;
  row.oversubscribed = row.timed && row.figures.oversubscribed === true;
  return row;
});

// Groups in the order of their first members: Map from key to rows.
function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}

function sumOf(list) { return list.reduce((sum, x) => sum + (x ?? 0), 0); }
function largest(list) { return list.reduce((most, x) => x !== null && !(x <= most) ? x : most, 0); }

function mathOf(c) { return c.math === 'fp32' ? c.dtype : `${c.dtype}/${c.math}`; }
function gridOf(c) { return `dp${c.dp} sp${c.sp}`; }

// Softmax's mask, or lightning's decay, and what is packed.
function maskOf(c) {
  const words = [c.operator === 'lightning' ? `decay ${c.decay}` : c.causal ? 'causal' : 'full'];
  if (c.window > 0) words.push(`window ${c.window}`);
  if (c.cu_seqlens && c.cu_seqlens !== 'none') words.push(`${String(c.cu_seqlens).split('+').length - 1} documents`);
  if (c.padding > 0) words.push(`padding ${c.padding}`);
  return words.join(' ');
}

function sizesOf(c) {
  const heads = c.heads === c.kv_heads ? `h${c.heads}` : `h${c.heads}/${c.kv_heads}`;
  const dims = c.head_dim === c.value_dim ? `d${c.head_dim}` : `d${c.head_dim}/${c.value_dim}`;
  return `${heads} ${dims}`;
}

function problemOf(c) {
  const sample = c.sample > 0 ? ` sample ${c.sample}` : '';
  return `${c.operator} b${c.batch} n${c.seq} ${sizesOf(c)} ${maskOf(c)} ${c.fill}${sample} seed ${c.seed}` +
      (c.cu_seqlens && c.cu_seqlens !== 'none' ? ` (${c.cu_seqlens})` : '');
}

function shortName(row) { return `${row.case.variant} ${mathOf(row.case)} ${gridOf(row.case)}`; }

// A word of the shell, whatever it holds.
function shellWord(text) {
  return /^[\w./=,+-]+$/.test(text) ? text : `'${String(text).replaceAll('\'', '\'\\\'\'')}'`;
}

// The command that repeats a case by itself, made of its columns; null if they could not stand in a case file.
function repeatLine(row) {
  if (row.directory) {
    return /[\u0000-\u001f\u007f]/.test(row.directory) ? null : `ringside check ${shellWord(row.directory)}`;
  }
  const fallback = column => MODEL.columns.fallbacks[MODEL.columns.case.indexOf(column)];
  const says_more = column => {
    const text = String(row.case[column]), usual = fallback(column);
    return row.case[column] !== null && text !== usual && text !== String(row.case[usual]);
  };
  const columns = MODEL.columns.case.filter(says_more);
  const cells = columns.map(column => {
    const text = String(row.case[column]);
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  if (cells.some(cell => /[\u0000-\u001f\u007f-\u009f|]/.test(cell))) return null;
  const device = row.run.device === 'cpu' ? '' : ` --device ${shellWord(row.run.device)}`;
  return `printf '%s\\n' ${shellWord(columns.join(','))} ${shellWord(cells.join(','))} > case.csv && ` +
      `ringside sweep case.csv --comm threads${device}`;
}
