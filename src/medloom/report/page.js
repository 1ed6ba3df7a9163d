"use strict";
document.querySelectorAll("[data-thresholds]").forEach(function (box) {
  var data = JSON.parse(box.querySelector("script").textContent);
  var slider = box.querySelector("input");
  var level = data.digits;
  function shown(value, digits) {
    if (value === null) return "–";
    var scaled = value * 10 ** digits;
    // Halves go to the even digit, as in the tables that stand on the page already.
    var even = Math.abs(scaled % 1) === 0.5 ? (2 * Math.round(scaled / 2)) / 10 ** digits : value;
    return even.toFixed(digits).replace("-", "−");
  }
  function between(triple, digits) {
    return triple[1] === null || triple[2] === null
      ? "no interval"
      : shown(triple[1], digits) + " to " + shown(triple[2], digits);
  }
  function move() {
    var place = Number(slider.value);
    var counts = data.counts[place];
    var total = counts[0] + counts[1] + counts[2] + counts[3];
    var at = shown(data.grid[place], level);
    box.querySelector("output").textContent = at + (place === data.own ? " (the study’s own)" : "");
    slider.setAttribute("aria-valuetext", at);
    Object.keys(data.figures).forEach(function (name, row) {
      var triple = data.figures[name][place];
      var digits = data.decimals[row];
      var cells = box.querySelectorAll("[data-figure]")[row];
      cells.querySelector(".value").textContent = shown(triple[0], digits);
      cells.querySelector(".interval").textContent = triple[0] === null ? "" : between(triple, digits);
    });
    counts.forEach(function (count, part) {
      box.querySelectorAll("[data-count]")[part].textContent = count.toLocaleString("en");
      box.querySelectorAll("[data-share]")[part].style.width = (100 * count) / total + "%";
    });
  }
  slider.addEventListener("input", move);
  box.querySelector(".slider").hidden = false;
  move();
});
