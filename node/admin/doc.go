// Package admin serves people and monitors over HTTP: a status page, a page for
// each operation, Prometheus metrics, health and profiles. It only shows: every
// method but GET and HEAD is refused, and when it listens on loopback so is a
// Host header that names another machine, so that no web page elsewhere can read
// it through a visitor's browser.
package admin
