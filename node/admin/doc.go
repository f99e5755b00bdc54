// Package admin serves people and monitors over HTTP: a status page, a page for
// each operation, Prometheus metrics, health and profiles. It only shows, but for
// workers, which can be drained. When it listens on loopback, a Host header that
// names another machine is refused, and so are cross-origin requests that change
// something, so that no web page elsewhere can read or change anything through a
// visitor's browser.
package admin
