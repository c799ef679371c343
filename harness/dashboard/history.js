'use strict';
// History: a figure over commits with its change points, and what the gate found.

function formatOf(name) {
  const unit = MODEL.columns.figures.find(field => field.name === name)?.unit;
  return unit === 's' ? seconds : unit === 'bytes' ? bytes : sig;
}

function seriesChart(series) {
  const format = formatOf(series.figure);
  const bounds = [0, ...series.steps, series.points.length];
  const level = series.points.map((_, i) => {
    const k = bounds.findIndex((bound, j) => i >= bound && i < bounds[j + 1]);
    return mean(series.points.slice(bounds[k], bounds[k + 1]).map(p => figure(p[1])));
  });
  const commits = series.points.map(p => MODEL.commits[p[0]]);
  const steps = new Set(series.steps);
  const mark = colour('accent'), text = colour('text');
  return chart(`${series.figure} of ${series.name} over ${series.points.length} runs`, 320, {type: 'line', data: {
    labels: commits.map(c => shown(c[1]).slice(0, 8)),
    datasets: [
      {label: shown(series.figure), data: series.points.map(p => figure(p[1])), borderColor: colour('faint'), borderWidth: 1,
       pointRadius: series.points.map((_, i) => steps.has(i) ? 7 : 3.5), pointStyle: series.points.map((_, i) => steps.has(i) ? 'rectRot' : 'circle'),
       pointBackgroundColor: series.points.map((_, i) => steps.has(i) ? mark : colour('line0')), pointBorderColor: colour('page')},
      {label: 'mean of the segment', data: level, borderColor: text, borderWidth: 1.5, borderDash: [5, 4], pointRadius: 0, pointStyle: 'line', stepped: 'middle'},
    ],
  }, options: {
    scales: {x: axis('commit, oldest first', {grid: {display: false}}), y: axis(series.figure, {ticks: {callback: x => format(x)}})},
    interaction: {mode: 'index', intersect: false},
    plugins: {tooltip: {callbacks: {
      title: items => { const [started, commit] = commits[items[0].dataIndex]; return shown(`${commit}  ${started}`); },
      label: item => `${item.dataset.label}: ${format(item.raw)}`,
      afterBody: items => {
        const subject = shown(commits[items[0].dataIndex][2]);
        return steps.has(items[0].dataIndex) ? [subject, '◆ a new level begins here'] : [subject];
      },
    }}},
  }});
}

function stepTable(series) {
  const bounds = [0, ...series.steps, series.points.length], format = formatOf(series.figure);
  const level = k => mean(series.points.slice(bounds[k], bounds[k + 1]).map(p => figure(p[1])));
  const lines = series.steps.map((step, i) => {
    const [started, commit, subject] = MODEL.commits[series.points[step][0]];
    return [mono(commit), subject, started, format(level(i)), format(level(i + 1)), `${sig(level(i + 1) / level(i))}×`];
  });
  if (lines.length === 0) return note('No change point: one level explains all runs.');
  return table([{title: 'since commit'}, {title: 'subject'}, {title: 'started'}, {title: 'before', num: true}, {title: 'after', num: true}, {title: 'ratio', num: true}],
               lines, 'Change points');
}

function historySection() {
  const all = MODEL.history.filter(series => passesFilters(partsOfName(series.name)) && series.points.length > 0);
  if (MODEL.history.length === 0) {
    return section('History', empty('No history: the page was made without ', mono('--db'), '. ', mono('ringside history add RESULTS --db FILE'), ' keeps runs for it.'));
  }
  if (all.length === 0) return section('History', empty('No series passes the filters.'));
  all.sort((a, b) => b.steps.length - a.steps.length);
  const where = s => `${s.device} ${s.communicator}${s.world > 0 ? ` ${s.world}` : ''} on ${s.fingerprint}`;
  const options = all.map(s => ({value: `${s.name} ${s.figure} ${where(s)}`,
                                 label: `${s.steps.length > 0 ? '◆ ' : ''}${s.figure}: ${shown(s.name)}, ${shown(where(s))} (${plural(s.points.length, 'run')})`}));
  const series = all[options.indexOf(chosen('series', options))];
  const changed = all.filter(s => s.steps.length > 0).length;
  return section('History', note(`${plural(all.length, 'series', 'series')}, ${whole(changed)} with a change point (◆, first in the list). Only runs of equal fingerprint are compared.`),
                 el('div', {class: 'choosers'}, chooser('series', 'Series', options)), seriesChart(series), stepTable(series));
}

// Ratio and interval on a logarithmic line around 1.
function interval(f, widest) {
  const place = x => `${(50 + 50 * Math.log(x) / widest).toFixed(2)}%`;
  return el('span', {class: `interval ${f.verdict === 'SLOW' ? 'wrong' : ''}`, title: `${sig(f.ratio, 4)} [${sig(f.low, 4)}, ${sig(f.high, 4)}]`,
                     vars: {'--low': place(f.low), '--high': place(f.high), '--ratio': place(f.ratio), '--limit': place(1 + figure(f.delta))}},
            el('i', {class: 'one'}), el('i', {class: 'limit'}), el('i', {class: 'range'}), el('i', {class: 'point'}));
}

function timedTable(timed) {
  const order = ['SLOW', 'AMBIGUOUS', 'CONTAMINATED', 'FAST', 'SAME'];
  const sorted = [...timed].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict) || figure(b.ratio) - figure(a.ratio));
  const ends = sorted.flatMap(f => [figure(f.low), figure(f.high), 1 + figure(f.delta)]).filter(x => x > 0 && Number.isFinite(x));
  const widest = Math.max(0.02, ...ends.map(x => Math.abs(Math.log(x)))) * 1.1;
  return table([{title: 'verdict'}, {title: 'case'}, {title: 'head / base', num: true}, {title: '95% interval', num: true}, {title: `${sig(Math.exp(-widest), 2)} … 1 … ${sig(Math.exp(widest), 2)}`},
                {title: 'p', num: true}, {title: 'limit', num: true}, {title: 'rounds', num: true}, {title: 'base', num: true}, {title: 'head', num: true}, {title: 'why'}],
               sorted.map(f => ({class: f.verdict === 'SLOW' ? 'wrong-row' : null, cells: [
                 {text: f.verdict === 'SLOW' ? '✗ SLOW' : f.verdict, class: f.verdict === 'SLOW' ? 'bad' : ''}, mono(f.name), f.base_s > 0 ? sig(figure(f.ratio), 4) : '–',
                 f.base_s > 0 ? `${sig(figure(f.low), 4)} – ${sig(figure(f.high), 4)}` : '–', f.base_s > 0 && interval({...f, ratio: figure(f.ratio), low: figure(f.low), high: figure(f.high)}, widest),
                 sig(figure(f.p), 2), sig(1 + figure(f.delta), 3), f.contaminated > 0 ? `${f.rounds} of ${f.rounds + f.contaminated}` : f.rounds, seconds(figure(f.base_s)),
                 seconds(figure(f.head_s)), f.why,
               ]})), 'Head against base, timed in pairs', true);
}

function gateSection(gate) {
  const shown_of = list => list.filter(f => passesFilters(partsOfName(f.name)));
  const exact = shown_of(gate.exact), timed = shown_of(gate.timed), steps = shown_of(gate.history);
  return section(['Gate: ', mono(gate.head), ' against ', mono(gate.base)],
                 note(`${plural(gate.cases, 'case')} compared on `, mono(gate.fingerprint), gate.seed ? `; order of cases from seed ${gate.seed}` : '', '.'),
                 exact.length > 0 ? table([{title: 'case'}, {title: 'what'}, {title: 'base'}, {title: 'head'}, {title: ''}], exact.map(f => ({
                   class: f.red ? 'wrong-row' : null, cells: [mono(f.name), f.what, f.base, f.head, {text: f.red ? '✗ worse' : 'better or new', class: f.red ? 'bad' : ''}],
                 })), 'Exact figures that differ', true) : note('Exact figures (verdicts, bytes, messages, memory): none differs.'),
                 timed.length > 0 ? timedTable(timed) : null,
                 steps.length > 0 ? table([{title: 'case'}, {title: 'figure'}, {title: 'before', num: true}, {title: 'after', num: true}, {title: 'since'}, {title: 'points', num: true}],
                                          steps.map(f => ({class: f.slower ? 'wrong-row' : null, cells: [
                                            mono(f.name), f.figure, sig(figure(f.before)), {text: `${f.slower ? '✗ ' : ''}${sig(figure(f.after))}`, class: f.slower ? 'bad' : ''}, mono(f.since), f.points,
                                          ]})), 'Last step of each series', true) : null,
                 gate.notes.map(text => note(text)));
}

VIEWS.push({id: 'history', title: 'History', render() {
  return [MODEL.gates.map(gateSection), historySection()];
}});
