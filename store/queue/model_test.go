package queue

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// model is the state machine written a second time, in the plainest way: maps in
// memory, nothing shared, nothing indexed. Values are copied on every change.
type model struct {
	jobs     map[string]modelJob
	ops      map[string]modelOp
	sessions map[string]modelSession
	nextSeq  int
	writes   []string // jobs whose results were to be cached
}

type modelJob struct {
	seq               int
	stage             Stage
	priority          int32
	attempt           int32
	failures, losses  int32
	history           int
	session           string
	noCache, front    bool
	response          string
	queued, completed time.Time
}

type modelOp struct {
	job       string
	cancelled bool
	response  string
}

type modelSession struct{ draining bool }

func newModel() model {
	return model{jobs: map[string]modelJob{}, ops: map[string]modelOp{}, sessions: map[string]modelSession{}}
}

func (m model) clone() model {
	m.jobs, m.ops, m.sessions = maps.Clone(m.jobs), maps.Clone(m.ops), maps.Clone(m.sessions)
	m.writes = slices.Clone(m.writes)
	return m
}

// apply returns the sentinel that the command is to be refused with.
func (m *model) apply(at time.Time, c proto.Message) error {
	switch c := c.(type) {
	case *queuepb.Submit:
		return m.submit(at, c)
	case *queuepb.Attach:
		return m.attach(c)
	case *queuepb.Assign:
		return m.assign(c)
	case *queuepb.Complete:
		return m.complete(at, c)
	case *queuepb.Requeue:
		j, err := m.lease(c.JobId, c.Attempt, c.SessionId)
		if err == nil && j.stage != Executing {
			err = ErrStale
		}
		if err == nil {
			m.requeue(c.JobId, c.Interrupted)
		}
		return err
	case *queuepb.CancelOperation:
		return m.cancel(at, c)
	case *queuepb.DeleteOperation:
		o, ok := m.ops[c.OperationId]
		switch {
		case !ok:
			return ErrNotFound
		case !o.cancelled && m.jobs[o.job].stage != Completed:
			return ErrActive
		}
		delete(m.ops, c.OperationId)
		return nil
	case *queuepb.OpenSession:
		if _, taken := m.sessions[c.SessionId]; taken {
			return ErrExists
		}
		m.sessions[c.SessionId] = modelSession{draining: c.Draining}
		return nil
	case *queuepb.UpdateSession:
		if _, open := m.sessions[c.SessionId]; !open {
			return ErrNotFound
		}
		m.sessions[c.SessionId] = modelSession{draining: c.Draining}
		return nil
	case *queuepb.CloseSession:
		return m.closeSession(c)
	case *queuepb.Prune:
		return m.prune(c)
	}
	return errors.New("no such command")
}

func (m *model) submit(at time.Time, c *queuepb.Submit) error {
	if _, taken := m.jobs[c.JobId]; taken {
		return ErrExists
	}
	if _, taken := m.ops[c.Operation.Id]; taken {
		return ErrExists
	}
	m.nextSeq++
	j := modelJob{seq: m.nextSeq, stage: Queued, priority: c.Priority, noCache: c.DoNotCache, queued: at}
	if _, open := m.sessions[c.SessionId]; open {
		j.stage, j.attempt, j.session = Executing, 1, c.SessionId
	}
	m.jobs[c.JobId] = j
	m.ops[c.Operation.Id] = modelOp{job: c.JobId}
	return nil
}

func (m *model) attach(c *queuepb.Attach) error {
	j, ok := m.jobs[c.Operation.JobId]
	switch {
	case !ok:
		return ErrNotFound
	case j.stage == Completed:
		return ErrCompleted
	}
	if _, taken := m.ops[c.Operation.Id]; taken {
		return ErrExists
	}
	j.priority = min(j.priority, c.Priority)
	m.jobs[c.Operation.JobId] = j
	m.ops[c.Operation.Id] = modelOp{job: c.Operation.JobId}
	return nil
}

// lease finds the job that a session has with an attempt.
func (m *model) lease(job string, attempt int32, session string) (modelJob, error) {
	j, ok := m.jobs[job]
	switch {
	case !ok:
		return j, ErrNotFound
	case j.stage == Completed, j.attempt != attempt, j.session != session:
		return j, ErrStale
	}
	return j, nil
}

func (m *model) assign(c *queuepb.Assign) error {
	j, err := m.lease(c.JobId, c.Attempt-1, "")
	if err != nil {
		return err
	}
	if _, open := m.sessions[c.SessionId]; !open {
		return ErrNotFound
	}
	j.stage, j.attempt, j.session = Executing, c.Attempt, c.SessionId
	m.jobs[c.JobId] = j
	return nil
}

func (m *model) complete(at time.Time, c *queuepb.Complete) error {
	j, err := m.lease(c.JobId, c.Attempt, c.SessionId)
	if err != nil {
		return err
	}
	m.end(c.JobId, at, string(c.GetExecuteResponse()))
	if c.Cache && !j.noCache {
		m.writes = append(m.writes, c.JobId)
	}
	return nil
}

func (m *model) end(job string, at time.Time, response string) {
	j := m.jobs[job]
	j.stage, j.session, j.completed, j.response = Completed, "", at, response
	m.jobs[job] = j
}

func (m *model) requeue(job string, interrupted bool) {
	j := m.jobs[job]
	j.stage, j.session, j.front = Queued, "", true
	if interrupted {
		j.losses++
	} else {
		j.failures++
	}
	j.history = min(j.history+1, maxHistoryLines)
	m.jobs[job] = j
}

func (m *model) cancel(at time.Time, c *queuepb.CancelOperation) error {
	o, ok := m.ops[c.OperationId]
	switch {
	case !ok:
		return ErrNotFound
	case m.jobs[o.job].stage == Completed:
		return ErrCompleted
	case o.cancelled:
		return nil
	}
	o.cancelled = true
	m.ops[c.OperationId] = o
	for _, other := range m.ops {
		if other.job == o.job && !other.cancelled {
			o.response = string(c.ExecuteResponse)
			m.ops[c.OperationId] = o
			return nil
		}
	}
	m.end(o.job, at, string(c.ExecuteResponse))
	return nil
}

func (m *model) closeSession(c *queuepb.CloseSession) error {
	if _, open := m.sessions[c.SessionId]; !open {
		return ErrNotFound
	}
	if len(c.Keep) > 0 {
		if _, open := m.sessions[c.KeepSession]; !open {
			return ErrNotFound
		}
		if c.KeepSession == c.SessionId {
			return ErrMalformed
		}
	}
	for id, j := range m.jobs {
		switch {
		case j.session != c.SessionId:
		case slices.Contains(c.Keep, id):
			j.session = c.KeepSession
			m.jobs[id] = j
		default:
			m.requeue(id, c.Interrupted)
		}
	}
	delete(m.sessions, c.SessionId)
	return nil
}

func (m *model) prune(c *queuepb.Prune) error {
	var old []string
	for id, j := range m.jobs {
		if j.stage == Completed && j.completed.UnixNano() < c.BeforeNanos {
			old = append(old, id)
		}
	}
	slices.SortFunc(old, func(a, b string) int {
		ja, jb := m.jobs[a], m.jobs[b]
		if d := ja.completed.Compare(jb.completed); d != 0 {
			return d
		}
		return ja.seq - jb.seq
	})
	for _, id := range old[:min(len(old), int(c.Limit))] {
		delete(m.jobs, id)
		maps.DeleteFunc(m.ops, func(_ string, o modelOp) bool { return o.job == id })
	}
	return nil
}

// modelled is what the model knows of a real job.
func modelled(j *Job, seq int) modelJob {
	return modelJob{
		seq: seq, stage: j.Stage, priority: j.Priority, attempt: j.Attempt, failures: j.Failures, losses: j.Losses,
		history: len(j.History), session: j.SessionID, noCache: j.DoNotCache, front: j.Front,
		response: string(j.Response), queued: j.QueuedAt, completed: j.CompletedAt,
	}
}

// name makes the small sets of ids that histories are drawn from.
func name(kind string, n int) string { return kind + strconv.Itoa(n) }
