// Keeps the status page up to date; without it the page reloads itself.
const live = document.getElementById("live");
const source = new EventSource("/events");
source.onmessage = (event) => { live.innerHTML = event.data; live.classList.remove("stale"); };
source.onerror = () => live.classList.add("stale");
