package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"
)

// ErrNoWorker is what Source.DrainWorker returns when no session of the bot is
// open.
var ErrNoWorker = errors.New("no such worker")

// workerJSON is a worker as programs see it, GET /api/workers.
type workerJSON struct {
	BotID      string    `json:"bot_id"`
	State      string    `json:"state"` // see Worker.State
	Reason     string    `json:"reason,omitempty"`
	Properties []string  `json:"properties"` // key=value
	Slots      int       `json:"slots"`
	Busy       int       `json:"busy"`
	Local      bool      `json:"local,omitempty"`
	Since      time.Time `json:"since"`
	Operations []string  `json:"operations,omitempty"` // that run on it, one of each lease
}

// State sums up whether a worker takes work: ok, draining, drained, refusing or
// away.
func (w Worker) State() string {
	switch {
	case w.Away:
		return "away"
	case w.Drained && len(w.Running) > 0:
		return "draining"
	case w.Drained:
		return "drained"
	case w.Refuses != "":
		return "refusing"
	}
	return "ok"
}

// Reason explains the state where it needs that.
func (w Worker) Reason() string {
	switch w.State() {
	case "away":
		return "not heard of since the server started"
	case "draining":
		return "takes no more work: it was drained, what runs goes on"
	case "drained":
		return "takes no work: it was drained"
	case "refusing":
		return "takes no work: " + w.Refuses
	}
	return ""
}

func (s *Server) listWorkers(w http.ResponseWriter, r *http.Request) {
	status, err := s.options.Source.Status(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	list := make([]workerJSON, len(status.Workers))
	for i, row := range status.Workers {
		list[i] = workerJSON{
			BotID: row.BotID, State: row.State(), Reason: row.Reason(), Properties: slices.Concat([]string{}, row.Properties),
			Slots: row.Slots, Busy: len(row.Running), Local: row.Local, Since: row.Since,
		}
		for _, op := range row.Running {
			list[i].Operations = append(list[i].Operations, op.Operation)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(list)
}

// drainWorker answers POST /api/workers/{bot}/drain and .../undrain.
func (s *Server) drainWorker(drain bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		bot := r.PathValue("bot")
		err := s.options.Source.DrainWorker(bot, drain)
		switch {
		case errors.Is(err, ErrNoWorker):
			plainText(w, http.StatusNotFound, "no worker is called "+bot)
		case err != nil:
			s.fail(w, r, err)
		default:
			s.options.Logger.Info("worker drained by an operator", "bot", bot, "drain", drain)
			w.WriteHeader(http.StatusNoContent)
		}
	}
}
