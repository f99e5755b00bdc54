package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const mostComplaints = 8

// complaints keeps the first of what is wrong.
type complaints struct {
	mu   sync.Mutex
	n    int
	errs []error
}

func (c *complaints) add(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; len(c.errs) < mostComplaints {
		c.errs = append(c.errs, fmt.Errorf("%s %w", time.Now().Format("15:04:05.000"), err))
	}
}

func (c *complaints) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *complaints) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		return nil
	}
	return fmt.Errorf("%d promises broken, among them:\n%w", c.n, errors.Join(c.errs...))
}
