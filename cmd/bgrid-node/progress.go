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
	return drawProgress(stderr, func() (string, progressLine) {
		s := p.State()
		return label, progressLine{unit: "blobs", done: s.Blobs, all: s.AllBlobs, bytes: s.Bytes, allBytes: s.AllBytes}
	})
}

// progressLine is what a bar shows.
type progressLine struct {
	unit            string // what done counts
	done, all       int64
	bytes, allBytes int64
}

// drawProgress draws what state tells, under its label, on stderr. Each label begins
// anew to measure time.
func drawProgress(stderr io.Writer, state func() (label string, line progressLine)) (stop func()) {
	if !isTerminal(stderr) {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		start, last := time.Now(), ""
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
				label, line := state()
				if label != last && last != "" {
					start = time.Now().Add(-barPeriod)
				}
				if line.all > 0 {
					_, _ = io.WriteString(stderr, "\r\x1b[K"+barLine(label, line, time.Since(start)))
					drawn = true
				}
				last = label
				next.Reset(barPeriod)
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func barLine(label string, s progressLine, took time.Duration) string {
	full := 0
	if s.allBytes > 0 {
		full = int(min(s.bytes, s.allBytes) * barCells / s.allBytes)
	}
	moved := sizeText(float64(s.bytes))
	if s.allBytes > 0 || s.bytes == 0 { // a stream does not tell how long it is
		moved += " of " + sizeText(float64(s.allBytes))
	}
	return fmt.Sprintf("%s [%s%s] %d/%d %s, %s, %s/s", label,
		strings.Repeat("#", full), strings.Repeat(".", barCells-full),
		s.done, s.all, s.unit, moved, sizeText(float64(s.bytes)/took.Seconds()))
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
