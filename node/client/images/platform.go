package images

import (
	"fmt"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ParsePlatform reads "os/architecture", "os/architecture/variant" or just an
// architecture, in Go's names or the machine's ("x86_64"). "" means Linux on this
// machine's architecture.
func ParsePlatform(text string) (v1.Platform, error) {
	if text == "" {
		return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	for _, part := range parts {
		if part == "" || len(parts) > 3 {
			return v1.Platform{}, fmt.Errorf("platform %q: want OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64", text)
		}
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return normal(p), nil
}

// normal spells a platform in one way, where several are in use.
func normal(p v1.Platform) v1.Platform {
	p.OS = strings.ToLower(p.OS)
	switch arch := strings.ToLower(p.Architecture); arch {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	default:
		p.Architecture = arch
	}
	if p.Architecture == "arm64" && p.Variant == "v8" || p.Architecture == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	return p
}

// serves tells whether an image for have runs where want is asked for. An image
// that names no platform runs anywhere.
func serves(have, want v1.Platform) bool {
	have = normal(have)
	return (have.OS == "" || have.OS == want.OS) &&
		(have.Architecture == "" || have.Architecture == want.Architecture) &&
		(want.Variant == "" || have.Variant == "" || have.Variant == want.Variant)
}

// platformText is a platform for people.
func platformText(p v1.Platform) string {
	return v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}.String()
}
