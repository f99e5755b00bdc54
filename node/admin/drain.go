package admin

import (
	"net"
	"net/http"
	"time"
)

// drain answers POST /api/drain: the node takes no new work, and the answer comes
// when what it runs has ended. Only its own machine may ask: whoever scrapes
// metrics must not be able to end the service.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		plainText(w, http.StatusForbidden, "a node is drained from its own machine only")
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // running actions take their time
	s.options.Logger.Info("draining: an operator asked for it")
	if err := s.options.Source.Drain(r.Context()); err != nil {
		s.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
