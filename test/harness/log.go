package harness

import "sync"

// logLimit is how much of a node's output is kept.
const logLimit = 1 << 20

// logBuffer keeps the end of what a process prints.
type logBuffer struct {
	mu   sync.Mutex
	data []byte
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if over := len(b.data) - logLimit; over > logLimit {
		b.data = append([]byte("...\n"), b.data[over:]...)
	}
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.data)
}
