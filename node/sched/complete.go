package sched

import (
	"context"
	"errors"
	"fmt"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// maxInLog is the largest response or result in bytes that a command carries; a
// larger one goes to the CAS, and its digest into the command.
const maxInLog = 64 << 10

// Complete ends a lease. It returns nil when the end is durable, or when the
// session has no such lease any more (a stale completion is ignored); after an
// error the bot tries again with the same completion. INTERNAL, UNAVAILABLE and
// OK without a result queue the job again, until its attempts are used up.
func (ses *Session) Complete(ctx context.Context, c Completion) error {
	ses.enter()
	defer ses.leave()
	l := ses.beginComplete(c)
	if l == nil {
		return nil
	}
	entry, err := ses.s.completionEntry(ctx, l, c)
	if err != nil {
		ses.endComplete(l, nil)
		return fmt.Errorf("complete job %s: %w", c.JobID, err)
	}
	entries := []*commandpb.Entry{entry}
	next := ses.promiseNext(l)
	if next != nil {
		entries = append(entries, next.entry)
	}
	errs, err := ses.s.propose(ctx, entries...)
	if err != nil {
		ses.s.failNext(err)
	}
	ses.endComplete(l, next)
	if err != nil {
		return fmt.Errorf("complete job %s: %w", c.JobID, err)
	}
	if errs[0] != nil { // stale: another word on the job came first
		ses.s.log.Info("completion refused", keyJob, c.JobID, keyBot, ses.row.BotID, keyError, errs[0])
	}
	return nil
}

// beginComplete finds the lease that the bot means, and notes that the bot is
// done with it; nil when there is no such lease.
func (ses *Session) beginComplete(c Completion) *lease {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	l := ses.leases[c.JobID]
	if l == nil || l.attempt != c.Attempt {
		s.stopLingering(ses, c.JobID)
		return nil
	}
	l.completing = true
	return l
}

// promiseNext promises the slot of a lease that is about to end to the job that
// is next for it, so that one commit does both.
func (ses *Session) promiseNext(l *lease) *errand {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	if !s.mayDispatch() || !ses.accepts() || ses.free() < 0 {
		return nil
	}
	ending := ses.leases[l.job.row.ID] == l
	if ending {
		ses.vacate(l.share)
	}
	j := s.next(ses)
	if ending {
		ses.occupy(l.share)
	}
	if j == nil {
		return nil
	}
	s.takeOut(j)
	return &errand{entry: assignEntry(j.row, ses), job: j, hold: s.hold(ses, j.row.ID, j.class.need)}
}

// endComplete settles what is left when the command was applied or failed.
func (ses *Session) endComplete(l *lease, next *errand) {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	l.completing = false
	if next != nil {
		s.settle(*next, nil)
	}
}

func (s *Scheduler) failNext(err error) {
	s.mu.Lock()
	defer s.unlock()
	s.pause(err)
}

// completionEntry decides what the end of a lease means.
func (s *Scheduler) completionEntry(ctx context.Context, l *lease, c Completion) (*commandpb.Entry, error) {
	s.mu.Lock()
	row := l.job.row
	s.mu.Unlock()
	if why, again := retryable(c); again {
		if row.Failures+1 < s.o.MaxAttempts {
			return requeueEntry(row, l.attempt, why), nil
		}
		return s.finalEntry(ctx, row, l, aborted(row, why), false)
	}
	r := &repb.ExecuteResponse{Status: c.Status}
	if c.Result != nil {
		r.Result = s.dress(c.Result, row)
	}
	cache := statusCode(c) == code.Code_OK && r.Result.ExitCode == 0 && !row.DoNotCache && s.cacheRoom(row)
	e, err := s.finalEntry(ctx, row, l, r, cache)
	if errors.Is(err, errEncode) { // it would be the same in every attempt
		return s.finalEntry(ctx, row, l, unusable(err), false)
	}
	return e, err
}

// cacheRoom tells whether the action cache takes the result of a job.
func (s *Scheduler) cacheRoom(row *queue.Job) bool {
	if s.o.CacheRoom == nil {
		return true
	}
	err := s.o.CacheRoom()
	if err != nil {
		s.log.Warn("a result is not cached", keyJob, row.ID, keyError, err)
	}
	return err == nil
}

// errEncode: a message has a string in it that is not UTF-8.
var errEncode = errors.New("the worker's result cannot be encoded")

// unusable is the response of a job whose worker sent what no client can be sent.
func unusable(err error) *repb.ExecuteResponse {
	return &repb.ExecuteResponse{Status: &statuspb.Status{Code: int32(code.Code_INTERNAL), Message: line(err.Error())}}
}

// finalEntry completes a job with its response.
func (s *Scheduler) finalEntry(ctx context.Context, row *queue.Job, l *lease, r *repb.ExecuteResponse, cache bool) (*commandpb.Entry, error) {
	m := &queuepb.Complete{JobId: row.ID, Attempt: row.Attempt, Cache: cache}
	if l != nil {
		m.Attempt, m.SessionId = l.attempt, l.session.row.ID
	}
	data, blob, err := s.pack(ctx, row.Action.Function, r)
	if err != nil {
		return nil, err
	}
	if blob != nil {
		m.Response = &queuepb.Complete_ExecuteResponseBlob{ExecuteResponseBlob: blob}
	} else {
		m.Response = &queuepb.Complete_ExecuteResponse{ExecuteResponse: data}
	}
	if cache {
		if data, blob, err = s.pack(ctx, row.Action.Function, r.Result); err != nil {
			return nil, err
		}
		if blob != nil {
			m.Result = &queuepb.Complete_ActionResultBlob{ActionResultBlob: blob}
		} else {
			m.Result = &queuepb.Complete_ActionResult{ActionResult: data}
		}
	}
	return &commandpb.Entry{Entry: &commandpb.Entry_Complete{Complete: m}}, nil
}

// pack encodes a message for a command: itself, or its digest when it is large.
func (s *Scheduler) pack(ctx context.Context, fn digest.Function, m proto.Message) ([]byte, *queuepb.Digest, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errEncode, err)
	}
	if len(data) <= maxInLog {
		return data, nil, nil
	}
	d := digest.Of(fn, data)
	for _, err := range s.o.Blobs.PutMany(ctx, cas.Output, []cas.Blob{{Digest: d, Data: data}}) {
		if err != nil {
			return nil, nil, fmt.Errorf("store response of %d bytes: %w", len(data), err)
		}
	}
	return nil, digestPB(d), nil
}

// dress returns a copy of the worker's result with the times that the server
// knows: when the action was queued, and the others where the worker left them
// out.
func (s *Scheduler) dress(r *repb.ActionResult, row *queue.Job) *repb.ActionResult {
	r = proto.CloneOf(r)
	if r.ExecutionMetadata == nil {
		r.ExecutionMetadata = &repb.ExecutedActionMetadata{}
	}
	m := r.ExecutionMetadata
	m.QueuedTimestamp = timestamppb.New(row.QueuedAt)
	if m.WorkerStartTimestamp == nil {
		m.WorkerStartTimestamp = timestamppb.New(row.StartedAt)
	}
	if m.WorkerCompletedTimestamp == nil {
		m.WorkerCompletedTimestamp = timestamppb.New(time.Now())
	}
	if m.Worker == "" {
		m.Worker = row.BotID
	}
	return r
}
