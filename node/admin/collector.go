package admin

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// statusCollector turns a Status into metrics when it is asked.
type statusCollector struct{ source Source }

// collectTimeout bounds one scrape.
const collectTimeout = 5 * time.Second

type gauge struct {
	name, help string
	labels     []string
}

// Describe sends nothing: the collector is unchecked, since platforms come and go.
func (c *statusCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	ready := 1.0
	if c.source.Ready() != nil {
		ready = 0
	}
	send(out, prometheus.GaugeValue, gauge{"bgrid_ready", "1 when the node takes work.", nil}, ready)
	s, err := c.source.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc("bgrid_status", "The state of the node.", nil, nil), err)
		return
	}
	collectNode(out, s)
	collectStores(out, s)
	collectMembers(out, s)
	if s.Leader != "" || s.Trouble != "" {
		return // the node that leads tells it, or else a sum over all nodes would count it several times
	}
	collectQueue(out, s)
	for _, p := range s.Platforms {
		label := []string{"platform"}
		send(out, prometheus.GaugeValue, gauge{"bgrid_queue_actions", "Queued actions, by the properties that they ask for.", label}, float64(p.Queued), p.Properties)
		send(out, prometheus.GaugeValue, gauge{"bgrid_slots", "Slots of open workers, by the properties that they offer.", label}, float64(p.Slots), p.Properties)
		send(out, prometheus.GaugeValue, gauge{"bgrid_slots_busy", "Slots that run an action, by the properties of their worker.", label}, float64(p.Busy), p.Properties)
	}
}

func collectNode(out chan<- prometheus.Metric, s *Status) {
	send(out, prometheus.GaugeValue, gauge{"bgrid_build_info", "1; the labels say what runs.", []string{"version", "revision", "node"}}, 1, s.Version, s.Revision, s.NodeID)
	send(out, prometheus.CounterValue, gauge{"bgrid_unclean_shutdowns_total", "Starts that found that the process before had not ended cleanly.", nil}, float64(s.UncleanShutdowns))
}

func collectQueue(out chan<- prometheus.Metric, s *Status) {
	send(out, prometheus.GaugeValue, gauge{"bgrid_workers", "Open bot sessions.", nil}, float64(len(s.Workers)))
	send(out, prometheus.GaugeValue, gauge{"bgrid_queue_length", "Queued actions.", nil}, float64(s.QueueLength))
	var oldest float64
	for _, w := range s.Queue {
		oldest = max(oldest, time.Since(w.Since).Seconds())
	}
	send(out, prometheus.GaugeValue, gauge{"bgrid_queue_oldest_seconds", "How long the action that has waited longest, of those next in line, has been queued.", nil}, oldest)
}

// collectMembers tells what this node sees of its cluster.
func collectMembers(out chan<- prometheus.Metric, s *Status) {
	if s.Members == nil {
		return
	}
	leads := 0.0
	for _, m := range s.Members {
		if m.Self && m.Leads {
			leads = 1
		}
		reachable := 0.0
		if m.Reachable {
			reachable = 1
		}
		send(out, prometheus.GaugeValue, gauge{"bgrid_member_reachable", "1 when this node reaches the member of the cluster.", []string{"member"}}, reachable, m.ID)
	}
	send(out, prometheus.GaugeValue, gauge{"bgrid_leads", "1 when this node leads its cluster.", nil}, leads)
	send(out, prometheus.GaugeValue, gauge{"bgrid_members", "Members of the cluster, as this node knows them.", nil}, float64(len(s.Members)))
}

func collectStores(out chan<- prometheus.Metric, s *Status) {
	for _, m := range []struct {
		gauge
		value int64
	}{
		{gauge{"bgrid_cas_blobs", "Blobs in the content-addressable storage.", nil}, s.CAS.Items},
		{gauge{"bgrid_cas_bytes", "Disk use of the content-addressable storage.", nil}, s.CAS.Bytes},
		{gauge{"bgrid_cas_max_bytes", "Limit of the disk use of the content-addressable storage.", nil}, s.CAS.MaxBytes},
		{gauge{"bgrid_action_cache_entries", "Entries of the action cache.", nil}, s.ActionCache.Items},
		{gauge{"bgrid_action_cache_bytes", "Disk use of the action cache.", nil}, s.ActionCache.Bytes},
	} {
		if m.value >= 0 {
			send(out, prometheus.GaugeValue, m.gauge, float64(m.value))
		}
	}
}

func send(out chan<- prometheus.Metric, kind prometheus.ValueType, g gauge, value float64, labels ...string) {
	desc := prometheus.NewDesc(g.name, g.help, g.labels, nil)
	metric, err := prometheus.NewConstMetric(desc, kind, value, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(desc, err)
	}
	out <- metric
}
