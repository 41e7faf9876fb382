"""Style sheet and script of the report page, as text: the page must not load anything.

Only presentation belongs here. Colours are named once, for light and for dark; the script adds a guide line and
a readout to the charts and nothing is lost without it (the table at the end of the page has every value).
"""

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#ffffff;--ink:#16202c;--soft:#5b6877;--faint:#8b97a5;
--rule:#e3e8ee;--grid:#edf0f4;--hatch:#c9d1db;--shade:#16202c0a;--warn-back:#fff4d6;--warn-ink:#6d4b00;
--warn-rule:#efd58a;--dau:#0f7f8c;--wau:#6a4fd0;--mau:#c8551b;--track:#e8ecf1;
--shadow:0 1px 2px #0f1c2b12,0 6px 20px #0f1c2b0d}
@media (prefers-color-scheme:dark){:root{--page:#0e131a;--card:#171e27;--ink:#e9eef4;--soft:#a3afbd;--faint:#76828f;
--rule:#27313d;--grid:#212a35;--hatch:#3c4855;--shade:#ffffff0a;--warn-back:#33290f;--warn-ink:#f3d996;--warn-rule:#5c4a1b;
--dau:#3cc3cf;--wau:#a794ff;--mau:#ff9a5f;--track:#27313d;--shadow:0 1px 2px #0006}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1080px;margin:0 auto;padding:40px 24px 56px}
header{display:flex;flex-wrap:wrap;gap:8px 24px;align-items:baseline;justify-content:space-between;margin-bottom:24px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0;font-weight:680}
h2{font-size:19px;letter-spacing:-.01em;margin:0;font-weight:640}
h3{font-size:15px;margin:0 0 4px;font-weight:640}
p{margin:0}
.lead{color:var(--soft)}
.warning{background:var(--warn-back);color:var(--warn-ink);border:1px solid var(--warn-rule);border-radius:10px;
padding:12px 16px;margin-bottom:20px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(270px,1fr));gap:16px;margin-bottom:16px}
.card{background:var(--card);border:1px solid var(--rule);border-radius:14px;box-shadow:var(--shadow);padding:20px 22px}
.dau{--accent:var(--dau)}.wau{--accent:var(--wau)}.mau{--accent:var(--mau)}
.name{display:flex;align-items:center;gap:8px;color:var(--soft);font-size:14px;font-weight:600}
.name::before{content:"";width:10px;height:10px;border-radius:3px;background:var(--accent)}
.figure{font-size:38px;line-height:1.2;font-weight:680;letter-spacing:-.025em;font-variant-numeric:tabular-nums;margin-top:6px}
.interval{color:var(--soft);font-size:14px;font-variant-numeric:tabular-nums}
.meter{height:8px;border-radius:4px;background:var(--track);overflow:hidden;margin:18px 0 8px}
.meter i{display:block;height:100%;background:var(--accent);border-radius:4px}
.budget{display:flex;justify-content:space-between;gap:12px;font-size:13px;color:var(--soft);
font-variant-numeric:tabular-nums}
.budget b{color:var(--ink);font-weight:640}
.plot{padding:20px 22px 12px;margin-bottom:16px}
.plot-head{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:4px 20px;
margin-bottom:8px}
.plot-head p{color:var(--soft);font-size:14px}
.readout{font-size:14px;color:var(--soft);font-variant-numeric:tabular-nums;min-height:22px}
.readout b{color:var(--ink)}
.scroll{overflow-x:auto}
.chart{display:block;width:100%;min-width:620px;height:auto;touch-action:pan-y}
.chart .grid{stroke:var(--grid)}.chart .axis,.chart .notch{stroke:var(--hatch)}
.chart text{font-size:12px;fill:var(--faint);font-variant-numeric:tabular-nums}
.chart .note{font-size:11.5px;fill:var(--soft)}
.chart .line{fill:none;stroke:var(--accent);stroke-width:1.7;stroke-linejoin:round;stroke-linecap:round}
.chart .band{fill:var(--accent);stroke:var(--accent);stroke-width:.6;opacity:.3}
.chart .whisker{fill:none;stroke:var(--accent);stroke-width:1.5;opacity:.65}
.chart .dot{fill:var(--accent)}
.chart .at-least{fill:var(--card);stroke:var(--accent);stroke-width:1.6}
.chart .last{fill:var(--accent);stroke:var(--card);stroke-width:2}
.chart .last-label{fill:var(--accent);font-size:14px;font-weight:680}
.chart .hatch{stroke:var(--hatch);stroke-width:1.6}.chart .gap{opacity:.75}
.chart .filling{fill:var(--shade)}
.chart .guide{stroke:var(--soft);stroke-dasharray:3 3;visibility:hidden}
.chart .spot{fill:var(--card);stroke:var(--accent);stroke-width:2.5;visibility:hidden}
.chart.active .guide,.chart.active .spot.known{visibility:visible}
.legend{display:flex;flex-wrap:wrap;gap:4px 22px;font-size:13px;color:var(--soft);margin:4px 4px 28px}
.legend span{display:inline-flex;align-items:center;gap:7px}
.legend i{display:inline-block;width:20px;height:12px;border-radius:3px}
.key-line{border-top:2px solid var(--soft);height:0!important}
.key-band{background:var(--soft);opacity:.28}
.key-gap{background:repeating-linear-gradient(135deg,var(--hatch) 0 1.6px,transparent 1.6px 5px)}
.key-filling{background:var(--shade);border:1px solid var(--rule)}
.key-least{width:0!important;height:0!important;border:6px solid transparent;border-top:0;
border-bottom:10px solid var(--soft);border-radius:0!important}
.text{margin-bottom:16px;padding:24px 26px}
.text h2{margin-bottom:14px}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:20px 40px}
.columns p{color:var(--soft);font-size:15px}
.columns b{color:var(--ink);font-weight:640}
.whole{white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:7px 10px;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}
td small{color:var(--faint);font-size:12.5px;margin-left:7px}
td.none{color:var(--faint)}
details{background:var(--card);border:1px solid var(--rule);border-radius:14px;box-shadow:var(--shadow);
padding:14px 22px;margin-bottom:16px}
summary{cursor:pointer;font-weight:640}
details .scroll{margin-top:12px;max-height:560px;overflow:auto}
details th{position:sticky;top:0;background:var(--card)}
footer{color:var(--faint);font-size:13px;margin-top:24px}
@media (max-width:560px){
main{padding:24px 14px 40px}.card,.plot,.text{padding:16px}.figure{font-size:32px}h1{font-size:26px}}
@media print{body{background:#fff}.card,details{box-shadow:none;break-inside:avoid}}
"""

SCRIPT = """
(() => {
  const data = JSON.parse(document.getElementById('series').textContent);
  const number = new Intl.NumberFormat('en', {maximumFractionDigits: 1});
  const start = Date.parse(data.first), dayMilliseconds = 864e5;
  const days = Math.round((Date.parse(data.last) - start) / dayMilliseconds);
  for (const chart of document.querySelectorAll('svg.chart')) {
    const metric = chart.dataset.metric, values = data.metrics[metric];
    const readout = document.getElementById('readout-' + metric);
    const idle = readout.innerHTML, left = +chart.dataset.left, right = +chart.dataset.right;
    const low = +chart.dataset.low, high = +chart.dataset.high;
    const guide = chart.querySelector('.guide'), spot = chart.querySelector('.spot');
    const top = +guide.getAttribute('y1'), bottom = +guide.getAttribute('y2');
    chart.addEventListener('pointermove', event => {
      const box = chart.getBoundingClientRect();
      const x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
      const index = days ? Math.min(days, Math.max(0, Math.round((x - left) / (right - left) * days))) : 0;
      const at = days ? left + index / days * (right - left) : left;
      const day = new Date(start + index * dayMilliseconds).toISOString().slice(0, 10), value = values[day];
      guide.setAttribute('x1', at); guide.setAttribute('x2', at);
      spot.classList.toggle('known', !!value);
      if (value) {
        spot.setAttribute('cx', at);
        spot.setAttribute('cy', bottom - (value[0] - low) / (high - low) * (bottom - top));
      }
      readout.innerHTML = value
        ? `${day} &ensp;<b>${value[3] ? '≥ ' : ''}${number.format(value[0])}</b> &ensp;` +
          `${number.format(value[1])} ${value[3] ? 'or more' : '– ' + number.format(value[2])}`
        : `${day} &ensp;not released`;
      chart.classList.add('active');
    });
    chart.addEventListener('pointerleave', () => { chart.classList.remove('active'); readout.innerHTML = idle; });
  }
})();
"""
