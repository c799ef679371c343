'use strict';
// Speed: throughput over the sequence length, where an iteration's time goes, and the times themselves.

const METRICS = [
  {value: 'flops', label: 'useful GFLOP/s', title: 'useful GFLOP/s, whole world', of: row => 1e3 * row.figures.useful_tflops, format: short},
  {value: 'tokens', label: 'tokens/s', title: 'tokens/s, forward and backward', of: row => row.figures.tokens_per_s, format: short},
];

// What must be equal for times to be compared over variants, lengths and ranks.
function familyOf(row) {
  const c = row.case, machines = new Set(ROWS.map(r => r.run.fingerprint)).size;
  return `${c.operator} ${mathOf(c)} b${c.batch} ${sizesOf(c)} ${maskOf(c)} ${c.fill}, ${row.run.communicator} ${row.run.device}` +
      (machines > 1 ? ` on ${row.run.fingerprint}` : '') + (new Set(ROWS.map(r => r.run.commit)).size > 1 ? ` at ${row.run.commit}` : '');
}

function mean(list) { return list.length > 0 ? sumOf(list) / list.length : 0; }

// T1 / (ranks · T), where the same problem ran on one rank.
function efficiency(row, rows) {
  if (row.world === 1 || row.oversubscribed) return null;
  const one = rows.find(r => r.world === 1 && !r.oversubscribed && r.case.variant === row.case.variant &&
                             r.case.seq === row.case.seq && familyOf(r) === familyOf(row));
  return one ? one.figures.forward_backward_s / (row.world * row.figures.forward_backward_s) : null;
}

function throughputChart(rows, metric) {
  const values = rows.map(metric.of);
  const lengths = [...new Set(rows.map(row => row.case.seq))].sort((a, b) => a - b);
  const by_length = [...rows].sort((a, b) => a.case.seq - b.case.seq);
  const datasets = [...groupBy(by_length, row => row.case.variant)].map(([variant, of], i) => ({
    label: shown(variant), ...lineStyle(i), data: of.map(row => ({x: row.case.seq, y: metric.of(row), row})),
    segment: {borderColor: at => of[at.p1DataIndex]?.oversubscribed ? colour('faint') : undefined},
    pointBackgroundColor: of.map(row => row.oversubscribed ? 'transparent' : lineStyle(i).borderColor),
  }));
  const peak = metric.value === 'flops' ? largest(rows.map(row => row.figures.matmul_tflops)) * 1e3 : 0;
  if (peak > 0) {
    values.push(peak);
    datasets.push({label: 'measured peak', data: lengths.map(x => ({x, y: peak})), borderColor: colour('text'), borderWidth: 1,
                   borderDash: [4, 4], pointRadius: 0, pointStyle: 'line'});
  }
  return chart(`${metric.title} over sequence length, a line a variant`, 340, {type: 'line', data: {datasets}, options: {
    parsing: false,
    scales: {x: logAxis('tokens in the sequence', whole, lengths, 2), y: logAxis(metric.title, metric.format, values)},
    plugins: {tooltip: {callbacks: {
      title: items => `n ${whole(items[0].raw.x)}`,
      label: item => `${item.dataset.label}: ${sig(item.raw.y)}${item.raw.row?.oversubscribed ? ' (oversubscribed: means little)' : ''}`,
    }}},
  }});
}

// A variant has one length: bars say more than points.
function throughputBars(rows, metric) {
  const sorted = [...rows].sort((a, b) => metric.of(b) - metric.of(a));
  const faint = row => row.oversubscribed ? colour('faint') : colour('line0');
  const peak = metric.value === 'flops' ? largest(rows.map(row => row.figures.matmul_tflops)) * 1e3 : 0;
  return chart(`${metric.title} by variant`, 70 + 28 * sorted.length, {type: 'bar', data: {
    labels: sorted.map(row => shown(`${row.case.variant}${row.oversubscribed ? ' ◇' : ''}`)),
    datasets: [{data: sorted.map(metric.of), backgroundColor: sorted.map(faint), barPercentage: 0.7}],
  }, options: {indexAxis: 'y', plugins: {legend: {display: false}}, scales: {
    x: axis(metric.title + (peak > 0 ? `; measured peak ${sig(peak)}` : ''), {beginAtZero: true, ticks: {callback: metric.format}}),
    y: {grid: {display: false}, ticks: {autoSkip: false}},
  }}});
}

// Time of an iteration, mean over ranks: computing, waiting (exposed), the rest; and communication hidden behind work.
function timeBars(rows) {
  const sorted = [...rows].sort((a, b) => a.index - b.index);
  const order = [...groupBy(sorted, row => row.case.variant).values()].flatMap(of => of.sort((a, b) => a.world - b.world));
  const part = (column, label, kind) => ({
    label, stack: column === 'hidden_s' ? 'hidden' : 'time', backgroundColor: colour(kind), borderColor: colour('text'),
    borderWidth: column === 'hidden_s' ? 1 : 0, barPercentage: 0.8, categoryPercentage: 0.85,
    data: order.map(row => 1e3 * mean(row.ranks.of[column])),
  });
  return chart('Time of an iteration by variant and ranks: compute, exposed wait, other stacked; hidden communication beside', 90 + 40 * order.length,
               {type: 'bar', data: {
                 labels: order.map(row => shown(`${row.case.variant} ×${row.world}${row.oversubscribed ? ' ◇' : ''}`)),
                 datasets: [part('compute_s', 'compute', 'compute'), part('wait_s', 'exposed wait', 'wait'), part('other_s', 'other', 'other'),
                            part('hidden_s', 'hidden communication (at most)', 'hidden')],
               }, options: {indexAxis: 'y', scales: {
                 x: axis('ms an iteration, mean over ranks', {stacked: true, beginAtZero: true}),
                 y: {stacked: true, grid: {display: false}, ticks: {autoSkip: false}},
               }, plugins: {tooltip: {callbacks: {label: item => `${item.dataset.label}: ${sig(item.raw)} ms`}}}}});
}

function timesTable(rows) {
  const num = (title, help) => ({title, help, num: true});
  const lines = rows.map(row => {
    const p = row.figures, of = row.ranks?.of, spread = p.repeat > 1 ? (p.forward_backward_max_s - p.forward_backward_min_s) / p.forward_backward_s : null;
    const split = column => of && largest(of.compute_s) > 0 ? seconds(largest(of[column])) : '–';
    return {class: row.oversubscribed ? 'doubtful' : null, cells: [
      row.case.variant, mathOf(row.case), gridOf(row.case), whole(row.case.seq), row.oversubscribed ? '◇ oversubscribed' : '',
      seconds(p.forward_s), seconds(p.forward_backward_s), spread === null ? '–' : percent(spread), split('compute_s'), split('wait_s'),
      split('hidden_s'), split('other_s'), percent(efficiency(row, rows)), short(p.tokens_per_s), sig(1e3 * p.useful_tflops),
    ]};
  });
  return table([{title: 'variant'}, {title: 'dtype'}, {title: 'grid'}, num('n'), {title: ''}, num('forward'), num('fwd + bwd', 'median iteration'),
                num('spread', 'max − min over the median'), num('compute', 'of the rank that computed longest'), num('exposed wait', 'of the rank that waited longest'),
                num('hidden', 'at most so much communication was hidden'), num('other'), num('eff.', 'T₁ / (ranks · T)'), num('tokens/s'), num('GFLOP/s', 'useful, whole world')],
               lines, 'Times');
}

VIEWS.push({id: 'speed', title: 'Speed', render(rows) {
  const timed = rows.filter(row => row.timed);
  if (timed.length === 0) {
    return empty(rows.length === 0 ? 'No case passes the filters.' : 'No times: the sweep ran with ', rows.length === 0 ? '' : mono('--no-perf'),
                 rows.length === 0 ? '' : ', or these cases were skipped.');
  }
  const doubtful = timed.filter(row => row.oversubscribed).length;
  const facts = timed.filter(row => !row.oversubscribed);
  const with_doubtful = isOn('oversubscribed');
  const drawn = with_doubtful ? timed : facts;
  const warning = doubtful === 0 ? null :
      el('p', {class: 'warning'}, `◇ ${plural(doubtful, 'row')} of ${whole(timed.length)} had more ranks than cores (or GPUs): such times mean little` +
                                  (with_doubtful ? '; they are drawn hollow and grey.' : ' and are not drawn.'));
  const box = doubtful > 0 ? toggle('oversubscribed', 'draw oversubscribed rows') : null;
  if (drawn.length === 0) {
    return [warning, el('div', {class: 'choosers'}, box), empty('Every time here is of an oversubscribed run: nothing to draw as a fact.'), timesTable(timed)];
  }
  const size = of => new Set(of.map(row => row.case.seq)).size * 1000 + of.length;
  const families = [...groupBy(drawn, familyOf)].sort((a, b) => size(b[1]) - size(a[1]));
  const family_options = families.map(([key, of]) => ({value: key, label: `${key} (${of.length})`}));
  const family = families.find(([key]) => key === chosen('family', family_options).value)[1];
  const grids = [...groupBy(family, row => gridOf(row.case))].sort((a, b) => b[1][0].world - a[1][0].world);
  const grid_options = grids.map(([grid]) => ({value: grid}));
  const of_grid = grids.find(([grid]) => grid === chosen('grid', grid_options).value)[1];
  const at_length = n => family.filter(row => row.case.seq === n).length;
  const lengths = [...new Set(family.map(row => row.case.seq))].sort((a, b) => at_length(b) - at_length(a) || b - a);
  const length_options = lengths.map(n => ({value: String(n), label: whole(n)}));
  const of_length = family.filter(row => String(row.case.seq) === chosen('length', length_options).value && row.ranks && largest(row.ranks.of.compute_s) > 0);
  const metric = chosen('metric', METRICS);
  const over_n = new Set(of_grid.map(row => row.case.seq)).size > 1;
  return [
    warning,
    el('div', {class: 'choosers'}, chooser('family', 'Cases', family_options), box),
    section('Throughput', el('div', {class: 'choosers'}, chooser('grid', 'Grid', grid_options), chooser('metric', 'Figure', METRICS)),
            over_n ? throughputChart(of_grid, metric) : throughputBars(of_grid, metric)),
    section('Where an iteration’s time goes', el('div', {class: 'choosers'}, chooser('length', 'n', length_options)),
            of_length.length > 0 ? timeBars(of_length) : empty('What of a pass was computing and waiting is not in these rows: on a GPU it takes --trace.')),
    section('Times', timesTable(with_doubtful ? timed : [...facts, ...timed.filter(row => row.oversubscribed)])),
  ];
}});
