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
