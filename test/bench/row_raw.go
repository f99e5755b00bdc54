package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// rawRows are floors alone: what this machine's processor and disk do.
func rawRows() []row {
	return []row{
		{name: "raw SHA-256, one core", unit: "MB/s", prepare: prepareRawHash},
		{name: "raw append of 1 KiB and fsync", unit: "calls/s", prepare: prepareRawSync},
	}
}

func prepareRawHash(_ context.Context, b *bench) (floor, product measurement, err error) {
	data := make([]byte, 1<<20)
	return func(ctx context.Context) (float64, error) {
		began, n := time.Now(), 0
		for time.Since(began) < b.duration/4 && ctx.Err() == nil {
			sha256.Sum256(data)
			n++
		}
		return float64(n) * float64(len(data)) / 1e6 / time.Since(began).Seconds(), nil
	}, nil, nil
}

func prepareRawSync(_ context.Context, b *bench) (floor, product measurement, err error) {
	return func(ctx context.Context) (float64, error) {
		f, err := os.Create(filepath.Join(b.work, "raw"))
		if err != nil {
			return 0, fmt.Errorf("create a file: %w", err)
		}
		defer os.Remove(f.Name())
		defer f.Close()
		record := make([]byte, 1<<10)
		began, n := time.Now(), 0
		for time.Since(began) < b.duration/2 && ctx.Err() == nil {
			if _, err := f.Write(record); err != nil {
				return 0, fmt.Errorf("append: %w", err)
			}
			if err := f.Sync(); err != nil {
				return 0, fmt.Errorf("sync: %w", err)
			}
			n++
		}
		return float64(n) / time.Since(began).Seconds(), nil
	}, nil, nil
}
