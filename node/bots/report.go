package bots

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Bounds of what a bot may say of itself.
const (
	maxBotID      = 256 // bytes
	maxProperties = 256
	maxProperty   = 1024 // bytes of key and value together
	maxCapacity   = 10000
	maxVersion    = 1 << 62 // of a reply; see session.version
)

// report is what a bot says in a call, checked.
type report struct {
	bot        *botspb.BotSession
	version    int64
	versioned  bool // the bot said which reply it saw last
	capacity   int
	room       sched.Resources
	properties []queue.Property
	has        map[string]*botspb.Lease // by job: those that it works on
	ended      map[string]sched.Completion
}

// readReport checks all that does not depend on the state of the session.
func readReport(ctx context.Context, bot *botspb.BotSession) (*report, error) {
	switch {
	case bot.GetBotId() == "":
		return nil, invalidPlain("bot_session.bot_id", "Bots's id must be set by client.")
	case len(bot.BotId) > maxBotID:
		return nil, invalid("bot_session.bot_id", fmt.Sprintf("has %d bytes, at most %d are taken", len(bot.BotId), maxBotID))
	}
	r := &report{bot: bot, has: map[string]*botspb.Lease{}, ended: map[string]sched.Completion{}}
	for _, read := range []func() error{r.readVersion, r.readWorker, r.readLeases, func() error { return checkPartialMetadata(ctx) }} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *report) readVersion() (err error) {
	if r.bot.Version == "" {
		return nil
	}
	if r.version, err = strconv.ParseInt(r.bot.Version, 10, 64); err != nil || r.version < 0 || r.version > maxVersion {
		return invalid("bot_session.version", fmt.Sprintf("%q is not one that this server gave out", short(r.bot.Version)))
	}
	r.versioned = true
	return nil
}

// readWorker reads the capacity and the properties: those of the first device,
// and the worker's own.
func (r *report) readWorker() error {
	r.capacity = 1
	worker := r.bot.GetWorker()
	for _, config := range worker.GetConfigs() {
		if err := r.readRoom(config); err != nil {
			return err
		}
		if config.Key != "capacity" {
			continue
		}
		n, err := strconv.Atoi(config.Value)
		if err != nil || n < 1 || n > maxCapacity {
			return invalid("bot_session.worker.configs", fmt.Sprintf("the capacity %q is not a whole number from 1 to %d", short(config.Value), maxCapacity))
		}
		r.capacity = n
	}
	add := func(key, value string) {
		if p := (queue.Property{Name: key, Value: value}); !slices.Contains(r.properties, p) {
			r.properties = append(r.properties, p)
		}
	}
	count := len(worker.GetProperties())
	if devices := worker.GetDevices(); len(devices) > 0 {
		count += len(devices[0].GetProperties())
	}
	if count > maxProperties {
		return invalid("bot_session.worker", fmt.Sprintf("has %d properties, at most %d are taken", count, maxProperties))
	}
	if devices := worker.GetDevices(); len(devices) > 0 {
		for _, p := range devices[0].GetProperties() {
			add(p.GetKey(), p.GetValue())
		}
	}
	for _, p := range worker.GetProperties() {
		add(p.GetKey(), p.GetValue())
	}
	for _, p := range r.properties {
		if p.Name == "" || len(p.Name)+len(p.Value) > maxProperty {
			return invalid("bot_session.worker", fmt.Sprintf("the property %q has no key, or more than %d bytes", short(p.Name), maxProperty))
		}
	}
	return nil
}

// readLeases sorts the leases into those that go on and those that ended. Of one
// that is listed twice the first counts.
func (r *report) readLeases() error {
	for _, l := range r.bot.Leases {
		job := jobOf(l.GetId())
		if _, twice := r.ended[job]; twice || r.has[job] != nil {
			continue
		}
		switch l.State {
		case botspb.LeaseState_COMPLETED:
			result, err := resultOf(l)
			if err != nil {
				return err
			}
			r.ended[job] = sched.Completion{JobID: job, Status: l.Status, Result: result}
		case botspb.LeaseState_CANCELLED:
			return invalid("bot_session.leases.state", "a bot may not set a lease to CANCELLED: it completes it with a status")
		default:
			r.has[job] = l
		}
	}
	return nil
}

func resultOf(l *botspb.Lease) (*repb.ActionResult, error) {
	if l.Result == nil {
		return nil, nil
	}
	result := new(repb.ActionResult)
	if err := l.Result.UnmarshalTo(result); err != nil {
		return nil, invalid("bot_session.leases.result", fmt.Sprintf("the result of lease %s is no %s: %v",
			short(l.Id), proto.MessageName(result), err))
	}
	return result, nil
}

// jobOf takes the job out of a lease's id, {instance}/{job}.
func jobOf(leaseID string) string { return leaseID[strings.LastIndexByte(leaseID, '/')+1:] }

// jobs lists what the bot says that it has, ended or not.
func (r *report) jobs() []string {
	var ids []string
	for id := range r.has {
		ids = append(ids, id)
	}
	for id := range r.ended {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// refusal says why the bot takes no work; "" when it does.
func (r *report) refusal() string {
	switch r.bot.Status {
	case botspb.BotStatus_OK:
		return ""
	case botspb.BotStatus_UNHEALTHY:
		return "it is not healthy"
	case botspb.BotStatus_HOST_REBOOTING:
		return "its host restarts"
	case botspb.BotStatus_BOT_TERMINATING:
		return "it is about to leave"
	case botspb.BotStatus_INITIALIZING:
		return "it is starting"
	}
	return "it does not say that it is OK"
}

func (r *report) terminating() bool { return r.bot.Status == botspb.BotStatus_BOT_TERMINATING }

// Request metadata that may tell how far a lease has got:
// partial-execution-metadata-<job>-bin.
const (
	partialPrefix = "partial-execution-metadata-"
	partialSuffix = "-bin"
)

// checkPartialMetadata refuses what is no ExecutedActionMetadata. Nothing is done
// with what it says: the result will say it again.
func checkPartialMetadata(ctx context.Context) error {
	headers, _ := metadata.FromIncomingContext(ctx)
	for key, values := range headers {
		if !strings.HasPrefix(key, partialPrefix) || !strings.HasSuffix(key, partialSuffix) {
			continue
		}
		for _, value := range values {
			if err := proto.Unmarshal([]byte(value), new(repb.ExecutedActionMetadata)); err != nil {
				return refused(codes.InvalidArgument, "the request metadata "+short(key)+" is no ExecutedActionMetadata")
			}
		}
	}
	return nil
}
