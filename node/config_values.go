package node

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Size is an amount of storage: bytes, or a part of the disk.
type Size struct {
	Bytes   int64
	Percent float64 // of the disk; used when Bytes is 0
	Most    int64   // bound in bytes of a Percent; 0: none
}

// Of returns the size in bytes on a disk of so many bytes.
func (s Size) Of(disk int64) int64 {
	if s.Bytes > 0 {
		return s.Bytes
	}
	n := int64(float64(disk) * s.Percent / 100)
	if s.Most > 0 && n > s.Most {
		return s.Most
	}
	return n
}

// String returns what parseSize reads.
func (s Size) String() string {
	if s.Bytes > 0 {
		return formatBytes(s.Bytes)
	}
	text := strconv.FormatFloat(s.Percent, 'g', -1, 64) + "%"
	if s.Most > 0 {
		text += " max " + formatBytes(s.Most)
	}
	return text
}

var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"kB", 1e3},
	{"T", 1 << 40},
	{"G", 1 << 30},
	{"M", 1 << 20},
	{"K", 1 << 10},
	{"B", 1},
}

// parseSize reads "512MiB", "20GB", "1073741824", "10%" or "10% max 100GiB".
func parseSize(text string) (Size, error) {
	amount, most, bounded := strings.Cut(text, " max ")
	amount = strings.TrimSpace(amount)
	if !strings.HasSuffix(amount, "%") {
		if bounded {
			return Size{}, fmt.Errorf("%q: only a part of the disk (10%%) takes a max", text)
		}
		n, err := parseBytes(amount)
		return Size{Bytes: n}, err
	}
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(amount, "%")), 64)
	if err != nil || !(percent > 0 && percent <= 100) {
		return Size{}, fmt.Errorf("%q: want a part of the disk above 0%% and up to 100%%", text)
	}
	s := Size{Percent: percent}
	if bounded {
		if s.Most, err = parseBytes(strings.TrimSpace(most)); err != nil {
			return Size{}, err
		}
	}
	return s, nil
}

func parseBytes(text string) (int64, error) {
	number, unit := text, int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n > 0) || n*float64(unit) > 1<<62 {
		return 0, fmt.Errorf("%q is not a size: want one such as 512MiB, 20GB or 10%%", text)
	}
	return int64(n * float64(unit)), nil
}

// formatBytes returns n with the largest binary unit that divides it.
func formatBytes(n int64) string {
	for _, u := range byteUnits[:4] {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads Go's durations ("3h", "1m30s") and plain seconds ("7200").
func parseDuration(text string) (time.Duration, error) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: want one such as 90s, 30m or 3h", text)
	}
	return d, nil
}

// formatDuration drops the zero minutes and seconds of Duration.String.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseDir makes a path absolute: it must mean the same in a file, in the
// environment and after --print-config.
func parseDir(text string) (string, error) {
	switch {
	case text == "":
		return "", errEmpty
	case strings.HasPrefix(text, "~"):
		return "", fmt.Errorf("%q: only a shell knows ~: write the home directory out", text)
	}
	path, err := filepath.Abs(text)
	if err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	return path, nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q: want true or false", text)
}

func parseCount(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return int(n), nil
}

func parseLevel(text string) (slog.Level, error) {
	switch strings.ToLower(text) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q: want debug, info, warn or error", text)
}

func parseProperty(text string) (Property, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return Property{}, fmt.Errorf("%q: want KEY=VALUE", text)
	}
	return Property{Name: name, Value: value}, nil
}
