package admin

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
)

// refresh is how often an open status page is brought up to date.
const refresh = time.Second

// eventStream sends the inner part of the status page, as server-sent events,
// each time that it has changed.
func (s *Server) eventStream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.events <- struct{}{}:
		defer func() { <-s.events }()
	default:
		plainText(w, http.StatusServiceUnavailable, "too many open status pages")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	var last []byte
	for {
		page, err := s.innerStatus(r)
		if err != nil {
			return
		}
		if !bytes.Equal(page, last) {
			if sendEvent(w, page) != nil || control.Flush() != nil {
				return
			}
			last = page
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) innerStatus(r *http.Request) ([]byte, error) {
	status, err := s.options.Source.Status(r.Context())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = s.pages.ExecuteTemplate(&b, "live", status)
	return b.Bytes(), err
}

// sendEvent writes one event: each line of it becomes a data line.
func sendEvent(w http.ResponseWriter, data []byte) error {
	for line := range bytes.Lines(data) {
		if _, err := fmt.Fprintf(w, "data: %s\n", bytes.TrimRight(line, "\r\n")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, "\n")
	return err
}
