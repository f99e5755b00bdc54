package main

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// stageConfig returns what a stage of a Dockerfile says of its image, beside its
// files. It knows the instructions that the stages of this project have.
func stageConfig(text, stage string) (v1.Config, error) {
	var c v1.Config
	found, in := false, false
	for _, line := range instructions(text) {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "FROM":
			in = strings.HasSuffix(rest, " AS "+stage)
			found = found || in
			continue
		}
		if !in {
			continue
		}
		switch word {
		case "ENV":
			c.Env = append(c.Env, rest)
		case "USER":
			c.User = rest
		case "WORKDIR":
			c.WorkingDir = rest
		case "EXPOSE":
			c.ExposedPorts = map[string]struct{}{}
			for _, port := range strings.Fields(rest) {
				c.ExposedPorts[port+"/tcp"] = struct{}{}
			}
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &c.Entrypoint); err != nil {
				return c, fmt.Errorf("ENTRYPOINT of %s: want a list of strings: %w", stage, err)
			}
		case "ARG", "COPY", "RUN": // they make files
		default:
			return c, fmt.Errorf("instruction %s in stage %s is not known here", word, stage)
		}
	}
	if !found {
		return c, fmt.Errorf("no stage %q", stage)
	}
	if c.User == "" || len(c.Entrypoint) == 0 {
		return c, fmt.Errorf("stage %s has no USER or no ENTRYPOINT", stage)
	}
	return c, nil
}

// instructions returns the lines of a Dockerfile, continued ones joined, without
// comments.
func instructions(text string) []string {
	var lines []string
	continued := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		line, more := strings.CutSuffix(line, "\\")
		if continued {
			lines[len(lines)-1] += " " + line
		} else {
			lines = append(lines, line)
		}
		continued = more
	}
	return lines
}
