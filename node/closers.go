package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// closers ends what was started, in the opposite order.
type closers struct {
	logger *slog.Logger
	steps  []closer
}

type closer struct {
	what string
	do   func() error
}

func (c *closers) add(what string, do func() error) { c.steps = append(c.steps, closer{what, do}) }

// close runs every step, whatever fails, and joins the errors.
func (c *closers) close() error {
	var errs []error
	for len(c.steps) > 0 {
		last := c.steps[len(c.steps)-1]
		c.steps = c.steps[:len(c.steps)-1]
		start := time.Now()
		if err := last.do(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", last.what, err))
		}
		c.logger.Debug("closed", "part", last.what, keyDuration, time.Since(start))
	}
	return errors.Join(errs...)
}
