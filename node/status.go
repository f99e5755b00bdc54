package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	return s.node.proposer.Err()
}

// Status implements admin.Source.
func (s *source) Status(ctx context.Context) (*admin.Status, error) {
	n := s.node
	snapshot := n.scheduler.Snapshot(ctx, pageRows)
	blobs, results := n.stores.cas.Stats(), n.stores.results.Stats()
	status := &admin.Status{
		Version: n.options.Build.Version, Revision: n.options.Build.Revision, NodeID: n.dir.nodeID,
		Instance: n.config.Instance, Listen: n.grpc.Addr().String(), Started: n.options.Started,
		Draining: n.draining.Load(), UncleanShutdowns: n.dir.unclean,
		QueueLength: snapshot.Queued,
		CAS:         admin.Store{Items: blobs.Blobs, Bytes: blobs.DiskBytes, MaxBytes: blobs.MaxBytes},
		ActionCache: admin.Store{Items: results.Entries, Bytes: results.DiskBytes, MaxBytes: -1},
	}
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
	for _, c := range clients {
		status.Clients = append(status.Clients, admin.Client{Name: c.name, Lines: c.lines(dialable(status.Listen), status.Instance)})
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

// DrainWorker implements admin.Source.
func (s *source) DrainWorker(botID string, drain bool) error {
	err := s.node.scheduler.DrainBot(s.node.config.Instance, botID, drain)
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
	state, err := s.node.scheduler.Get(ctx, name)
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
