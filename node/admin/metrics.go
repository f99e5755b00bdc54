package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is the registry of a node with what is counted as it happens. What can
// be read from a Status is collected by Watch.
type Metrics struct {
	registry *prometheus.Registry
	handled  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	actions  *prometheus.CounterVec
	methods  methodCache
}

// NewMetrics returns the metrics of one node, in a registry of its own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bgrid_grpc_handled_total", Help: "gRPC calls that ended, by method and status code.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bgrid_grpc_seconds", Help: "Time that gRPC calls took, by method. Execute and WaitExecution last as long as their client listens.",
			Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10, 60, 600},
		}, []string{"method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bgrid_grpc_in_flight", Help: "gRPC calls being answered.",
		}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bgrid_actions_total", Help: "Actions that ended, by outcome.",
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.handled, m.seconds, m.inFlight, m.actions,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range outcomes() {
		m.actions.WithLabelValues(outcome)
	}
	return m
}

// ActionEnded counts an action by its Outcome.
func (m *Metrics) ActionEnded(outcome string) { m.actions.WithLabelValues(outcome).Inc() }

// Watch adds what s tells to the metrics. Call it once.
func (m *Metrics) Watch(s Source) { m.registry.MustRegister(&statusCollector{source: s}) }
