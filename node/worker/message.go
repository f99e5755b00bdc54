package worker

import (
	"context"
	"strconv"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxReport bounds in bytes the results of one call: a message has 4 MiB. What
// does not fit goes with the next.
const maxReport = 3 << 20

// said is one call's message, with what follows from it.
type said struct {
	bot  *botspb.BotSession
	last bool // the worker leaves, with nothing in hand
}

// begin writes the next call's message, and makes its context. The function
// returned ends it, and tells whether it was interrupted for the sake of news.
func (l *link) begin(ctx context.Context) (*said, context.Context, func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &said{bot: &botspb.BotSession{
		Name: l.name, BotId: l.o.BotID, Version: l.version, Status: l.status(time.Now()), Worker: l.describe(),
	}}
	left := maxReport
	for _, h := range l.held {
		m := h.lease
		if h.ended != nil {
			if size := proto.Size(h.ended); size <= left {
				m, left = h.ended, left-size
			}
		}
		s.bot.Leases = append(s.bot.Leases, m)
	}
	l.news = false
	s.last = l.leaving && len(l.held) == 0
	deadline := callDeadline
	if !l.answered {
		deadline = helloDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	if left == maxReport && !s.last { // it only waits
		l.cut = cancel
	}
	return s, ctx, func() bool {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cut = nil
		return l.news
	}
}

func (l *link) describe() *botspb.Worker {
	d := &botspb.Device{}
	for _, p := range l.o.Properties {
		d.Properties = append(d.Properties, &botspb.Device_Property{Key: p.Name, Value: p.Value})
	}
	configs := []*botspb.Worker_Config{{Key: "capacity", Value: strconv.Itoa(l.o.Slots)}}
	if l.o.CPUs > 0 {
		configs = append(configs, &botspb.Worker_Config{Key: "cpus", Value: strconv.FormatFloat(l.o.CPUs, 'f', 3, 64)})
	}
	if l.o.Memory > 0 {
		configs = append(configs, &botspb.Worker_Config{Key: "memory", Value: strconv.FormatInt(l.o.Memory, 10)})
	}
	return &botspb.Worker{Devices: []*botspb.Device{d}, Configs: configs}
}

func (l *link) status(now time.Time) botspb.BotStatus {
	switch {
	case l.leaving:
		return botspb.BotStatus_BOT_TERMINATING
	case l.health.bad(now):
		return botspb.BotStatus_UNHEALTHY
	}
	return botspb.BotStatus_OK
}

// hear takes over a reply: it has all leases that the worker should have.
func (l *link) hear(s *said, reply *botspb.BotSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.answered {
		l.meetings++
		l.log.Info("connected to the server", "session", reply.Name, "leases", len(reply.Leases))
	}
	l.answered = true
	l.name, l.version = reply.Name, reply.Version
	listed := map[string]bool{}
	for _, m := range reply.Leases {
		id := jobOf(m.Id)
		listed[id] = true
		if h := l.held[id]; h == nil || attemptOf(m) > h.attempt {
			l.take(id, m)
		}
	}
	for id, h := range l.held {
		if listed[id] {
			continue
		}
		if h.ended == nil {
			l.push(runners.Event{Cancelled: id})
		}
		l.drop(id)
	}
}

// take begins with a lease. What ran under its name before is over.
func (l *link) take(id string, m *botspb.Lease) {
	if l.held[id] != nil {
		l.drop(id)
	}
	h := &held{lease: m, attempt: attemptOf(m), acked: make(chan struct{})}
	l.held[id] = h
	lease, err := readLease(id, m, l.o.Instance)
	if err != nil {
		h.ended = endedLease(m, runners.Completion{Status: &statuspb.Status{Code: int32(code.Code_INVALID_ARGUMENT), Message: err.Error()}})
		l.news = true
		return
	}
	l.push(runners.Event{Assigned: lease})
}

func (l *link) push(e runners.Event) {
	l.events = append(l.events, e)
	l.signal()
}

// triedEnough tells whether a last call need not be repeated.
func (l *link) triedEnough() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name == "" {
		return true // there is no session to leave
	}
	if l.leaveBy.IsZero() {
		l.leaveBy = time.Now().Add(farewell)
	}
	return time.Now().After(l.leaveBy)
}

func jobOf(leaseID string) string { return leaseID[strings.LastIndexByte(leaseID, '/')+1:] }

// config returns what Lease.requirements.configs says, "" when the server is not
// one of this project.
func config(m *botspb.Lease, key string) string {
	for _, c := range m.GetRequirements().GetConfigs() {
		if c.Key == key {
			return c.Value
		}
	}
	return ""
}

func attemptOf(m *botspb.Lease) int32 {
	n, _ := strconv.ParseInt(config(m, "attempt"), 10, 32)
	return int32(n)
}

// readLease turns a message into what runners take.
func readLease(id string, m *botspb.Lease, instance string) (*runners.Lease, error) {
	out := &runners.Lease{ID: id, Attempt: attemptOf(m), Instance: instance}
	action := new(repb.Action)
	switch {
	case m.GetPayload().MessageIs(action):
		out.ActionBytes = m.Payload.Value
		out.Action = digest.Of(digest.SHA256, m.Payload.Value)
	default:
		d := new(repb.Digest)
		if err := m.GetPayload().UnmarshalTo(d); err != nil {
			return nil, runners.Invalid("the payload of lease %s is neither an Action nor a Digest", m.Id)
		}
		var err error
		if out.Action, err = digest.FromProto(digest.SHA256, d); err != nil {
			return nil, runners.Invalid("the payload of lease %s: %v", m.Id, err)
		}
	}
	if text := config(m, "action"); text != "" {
		d, err := digest.Parse(text)
		if err != nil {
			return nil, runners.Invalid("the action of lease %s: %v", m.Id, err)
		}
		out.Action = d
	}
	for _, p := range m.GetRequirements().GetProperties() {
		out.Properties = append(out.Properties, runners.Property{Name: p.Key, Value: p.Value})
	}
	if ns, err := strconv.ParseInt(config(m, "timeout"), 10, 64); err == nil && ns > 0 {
		out.Timeout = time.Duration(ns)
	} else if out.ActionBytes != nil && proto.Unmarshal(out.ActionBytes, action) == nil {
		out.Timeout = action.GetTimeout().AsDuration()
		if out.Properties == nil {
			for _, p := range action.GetPlatform().GetProperties() {
				out.Properties = append(out.Properties, runners.Property{Name: p.Name, Value: p.Value})
			}
		}
	}
	return out, nil
}
