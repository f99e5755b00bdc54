package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/admin"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// source is the node as its pages and metrics see it.
type source struct{ node *Node }

var _ admin.Source = (*source)(nil)

// pageRows bounds the lists of the status page.
const pageRows = 50

// Ready implements admin.Source.
func (s *source) Ready() error {
	if s.node.draining.Load() {
		return sched.ErrDraining
	}
	if c := s.node.cluster; c != nil && !s.node.serving.Load() {
		return errNoLeader
	}
	return s.node.failure()
}

// Status implements admin.Source. What the scheduler knows comes from the node that
// leads; while none does, it is left out.
func (s *source) Status(ctx context.Context) (*admin.Status, error) {
	n := s.node
	status := new(admin.Status)
	if n.scheduler.Load() != nil {
		var err error
		if status, err = s.leaderStatus(ctx); err != nil {
			return nil, err
		}
	} else if err := n.askLeader(ctx, askStatus, nil, status, errNoLeader); err != nil {
		status = &admin.Status{Trouble: err.Error()}
	} else {
		status.Leader, _ = n.cluster.Leader()
	}
	blobs, results := n.stores.cas.Stats(), n.stores.results.Stats()
	status.Version, status.Revision, status.NodeID = n.options.Build.Version, n.options.Build.Revision, n.dir.nodeID
	status.Instance, status.Listen, status.Started = n.config.Instance, n.grpc.Addr().String(), n.options.Started
	status.Draining, status.UncleanShutdowns = n.draining.Load(), n.dir.unclean
	status.CAS = admin.Store{Items: blobs.Blobs, Bytes: blobs.DiskBytes, MaxBytes: blobs.MaxBytes}
	status.ActionCache = admin.Store{Items: results.Entries, Bytes: results.DiskBytes, MaxBytes: -1}
	for _, c := range clients {
		status.Clients = append(status.Clients, admin.Client{Name: c.name, Lines: c.lines(dialable(status.Listen), status.Instance)})
	}
	if n.cluster != nil {
		status.NodeID = n.cluster.Self()
		status.Members = n.members()
	}
	return status, nil
}

// members describes the nodes of the cluster as this one sees them.
func (n *Node) members() []admin.Member {
	lead, _ := n.cluster.Leader()
	var out []admin.Member
	for _, m := range n.cluster.Members() {
		row := admin.Member{ID: m.ID, Address: m.Address, Self: m.ID == n.cluster.Self(), Leads: m.ID == lead, Voter: m.Voter}
		row.Reachable = row.Self || n.cluster.Reachable(m.ID)
		out = append(out, row)
	}
	return out
}

// leaderStatus is the part of the status that only the scheduler knows.
func (s *source) leaderStatus(ctx context.Context) (*admin.Status, error) {
	scheduler := s.node.scheduler.Load()
	if scheduler == nil {
		return nil, errNoLeader
	}
	snapshot := scheduler.Snapshot(ctx, pageRows)
	status := &admin.Status{QueueLength: snapshot.Queued}
	for _, w := range snapshot.Workers {
		status.Workers = append(status.Workers, workerRow(w))
	}
	slices.SortFunc(status.Workers, func(a, b admin.Worker) int { return cmp.Compare(a.BotID, b.BotID) })
	for _, p := range snapshot.Platforms {
		status.Platforms = append(status.Platforms, admin.Platform{
			Properties: strings.Join(texts(p.Properties), ","), Slots: p.Slots, Busy: p.Busy, Queued: p.Queued,
		})
	}
	slices.SortFunc(status.Platforms, func(a, b admin.Platform) int { return cmp.Compare(a.Properties, b.Properties) })
	for _, w := range snapshot.Queue {
		status.Queue = append(status.Queue, admin.Waiting{
			Operation: w.Name, Command: w.Job.Command, Platform: strings.Join(texts(w.Job.Matched), ","),
			Priority: int(w.Job.Priority), Since: w.Job.QueuedAt, Reason: w.WaitReason,
		})
	}
	for _, r := range snapshot.Recent {
		status.Recent = append(status.Recent, admin.Recent{
			Operation: r.Name, Command: r.Job.Command, Outcome: admin.Outcome(r.Response), Worker: r.Worker,
			Completed: r.Job.CompletedAt, Took: r.Job.CompletedAt.Sub(r.Job.QueuedAt),
		})
	}
	return status, nil
}

func workerRow(w sched.Worker) admin.Worker {
	row := admin.Worker{
		BotID: w.Session.BotID, Properties: texts(w.Session.Properties), Slots: int(w.Session.Capacity),
		Local: w.Session.Local, Since: w.Session.OpenedAt, Drained: w.Drained, Away: w.Away, Refuses: w.Refuses,
	}
	for _, r := range w.Running {
		row.Running = append(row.Running, admin.Running{
			Operation: r.Name, Command: r.Job.Command, Attempt: int(r.Job.Attempt), Since: r.Job.StartedAt,
		})
	}
	return row
}

// Drain implements admin.Source.
func (s *source) Drain(ctx context.Context) error { return s.node.Drain(ctx) }

// askWait bounds what the pages ask of the leader.
const askWait = 5 * time.Second

// DrainWorker implements admin.Source.
func (s *source) DrainWorker(botID string, drain bool) error {
	r := drainRequest{BotID: botID, Drain: drain}
	if s.node.scheduler.Load() != nil {
		return s.drainWorker(r)
	}
	ctx, cancel := context.WithTimeout(s.node.closing, askWait)
	defer cancel()
	return s.node.askLeader(ctx, askDrain, r, &struct{}{}, admin.ErrNoWorker)
}

func (s *source) drainWorker(r drainRequest) error {
	scheduler := s.node.scheduler.Load()
	if scheduler == nil {
		return errNoLeader
	}
	err := scheduler.DrainBot(s.node.config.Instance, r.BotID, r.Drain)
	if errors.Is(err, sched.ErrUnknownBot) {
		return admin.ErrNoWorker
	}
	return err
}

// texts writes properties as key=value.
func texts(list []queue.Property) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Name + "=" + p.Value
	}
	return out
}

// Operation implements admin.Source.
func (s *source) Operation(ctx context.Context, name string) (*admin.Operation, error) {
	if s.node.scheduler.Load() != nil {
		return s.operation(ctx, name)
	}
	op := new(admin.Operation)
	return op, s.node.askLeader(ctx, askOperation, name, op, admin.ErrNotFound)
}

func (s *source) operation(ctx context.Context, name string) (*admin.Operation, error) {
	scheduler := s.node.scheduler.Load()
	if scheduler == nil {
		return nil, errNoLeader
	}
	state, err := scheduler.Get(ctx, name)
	if errors.Is(err, sched.ErrNotFound) {
		return nil, admin.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	op := &admin.Operation{Name: state.Name, Stage: stageName(state.Stage), Reason: state.WaitReason, Worker: state.Worker}
	if state.Done {
		op.Stage = stageName(queue.Completed)
		op.Outcome = admin.Outcome(state.Response)
	}
	if j := state.Job; j != nil {
		op.Command, op.Action, op.Priority, op.Attempt, op.History = j.Command, j.Action.String(), int(j.Priority), int(j.Attempt), j.History
		op.Platform = append(texts(j.Matched), texts(j.Carried)...)
		op.Queued, op.Started, op.Completed = j.QueuedAt, j.StartedAt, j.CompletedAt
	}
	if state.Operation != nil {
		op.Invoker = invoker(state.Operation.RequestMetadata)
	}
	if r := state.Response; r != nil {
		op.Message = cmp.Or(r.GetStatus().GetMessage(), r.GetMessage())
		describeResult(op, r.GetResult())
	}
	return op, nil
}

func stageName(s queue.Stage) string { return repb.ExecutionStage_Value(s).String() }

// invoker names the tool and the invocation that asked.
func invoker(metadata []byte) string {
	var m repb.RequestMetadata
	if len(metadata) == 0 || proto.Unmarshal(metadata, &m) != nil {
		return ""
	}
	var parts []string
	for _, part := range []string{m.GetToolDetails().GetToolName(), m.GetToolDetails().GetToolVersion(), m.GetToolInvocationId()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// maxShown bounds in bytes what a page shows of a stream.
const maxShown = 64 << 10

func describeResult(op *admin.Operation, r *repb.ActionResult) {
	op.Stdout, op.Stderr = shown(r.GetStdoutRaw()), shown(r.GetStderrRaw())
	for _, f := range r.GetOutputFiles() {
		op.Outputs = append(op.Outputs, admin.Output{Path: f.GetPath(), Digest: digestText(f.GetDigest())})
	}
	for _, d := range r.GetOutputDirectories() {
		op.Outputs = append(op.Outputs, admin.Output{Path: d.GetPath() + "/", Digest: digestText(d.GetTreeDigest())})
	}
	if m := r.GetExecutionMetadata(); m.GetExecutionStartTimestamp() != nil && op.Started.IsZero() {
		op.Started = m.GetExecutionStartTimestamp().AsTime()
	}
}

func shown(data []byte) string {
	if len(data) > maxShown {
		data = data[:maxShown]
	}
	return strings.ToValidUTF8(string(data), "\uFFFD")
}

func digestText(d *repb.Digest) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%s/%d", d.GetHash(), d.GetSizeBytes())
}
