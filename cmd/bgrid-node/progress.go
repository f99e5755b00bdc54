package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// A transfer that ends sooner than barDelay shows no bar.
const (
	barDelay  = 500 * time.Millisecond
	barPeriod = 200 * time.Millisecond
	barCells  = 24
)

// showProgress draws what p counts on stderr, when that is a terminal, until the
// returned function is called.
func showProgress(stderr io.Writer, label string, p *client.Progress) (stop func()) {
	if !isTerminal(stderr) {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		start := time.Now()
		next := time.NewTimer(barDelay)
		defer next.Stop()
		drawn := false
		for {
			select {
			case <-end:
				if drawn {
					_, _ = io.WriteString(stderr, "\r\x1b[K")
				}
				return
			case <-next.C:
				if s := p.State(); s.AllBlobs > 0 {
					_, _ = io.WriteString(stderr, "\r\x1b[K"+barLine(label, s, time.Since(start)))
					drawn = true
				}
				next.Reset(barPeriod)
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func barLine(label string, s client.ProgressState, took time.Duration) string {
	full := 0
	if s.AllBytes > 0 {
		full = int(min(s.Bytes, s.AllBytes) * barCells / s.AllBytes)
	}
	rate := float64(s.Bytes) / took.Seconds()
	return fmt.Sprintf("%s [%s%s] %d/%d blobs, %s of %s, %s/s", label,
		strings.Repeat("#", full), strings.Repeat(".", barCells-full),
		s.Blobs, s.AllBlobs, sizeText(float64(s.Bytes)), sizeText(float64(s.AllBytes)), sizeText(rate))
}

// sizeText writes a number of bytes for people.
func sizeText(bytes float64) string {
	unit := 0
	for bytes >= 1024 && unit < 4 {
		bytes /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f B", bytes)
	}
	return fmt.Sprintf("%.1f %ciB", bytes, "BKMGT"[unit])
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
