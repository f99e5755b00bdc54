package images

import (
	"errors"
	"fmt"
)

// What callers tell apart.
var (
	// ErrMalformed is wrapped when an image breaks the rules of its format, or names
	// what must not be laid out on a disk.
	ErrMalformed = errors.New("malformed image")
	// ErrNoImage is wrapped when there is no image under the name given.
	ErrNoImage = errors.New("no such image")
	// ErrPlatform is wrapped when there is one, but not for the platform.
	ErrPlatform = errors.New("no image for the platform")
	// ErrAmbiguous is wrapped when an archive holds several images and the name does
	// not say which one is meant.
	ErrAmbiguous = errors.New("several images")
	// ErrNotEmpty is wrapped when the directory to build in has entries already.
	ErrNotEmpty = errors.New("directory is not empty")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}
