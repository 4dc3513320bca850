package scan

import (
	"context"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Version is what an engine says of itself and its signatures.
type Version struct {
	Text string    // as it says it
	Date time.Time // of the signatures; zero when they have none, as those of one's own
}

// Old reports whether signatures are older than they may be. Those without a
// date are not known to be.
func (v Version) Old(max time.Duration, now time.Time) bool {
	return max > 0 && !v.Date.IsZero() && now.Sub(v.Date) > max
}

// remembered is how long a verdict of these signatures is believed.
func (v Version) remembered() time.Duration {
	if v.Date.IsZero() {
		return rememberUndated
	}
	return rememberDated
}

// Version asks clamd, or gives what it said some seconds ago.
func (c *Clamd) Version(ctx context.Context) (Version, error) {
	c.mu.Lock()
	v, fresh := c.version, c.o.Now().Sub(c.asked) < versionAge
	c.mu.Unlock()
	if fresh {
		return v, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	text, err := ask(ctx, c.dial, "VERSION")
	if err != nil {
		return Version{}, err
	}
	if v, err = parseVersion(text); err != nil {
		return Version{}, err
	}
	c.mu.Lock()
	c.version, c.asked = v, c.o.Now()
	c.mu.Unlock()
	return v, nil
}

// parseVersion reads "ClamAV 1.4.6/27460/Sat Nov 28 09:26:11 2026", where the
// number and date are missing when there are only signatures of one's own.
func parseVersion(text string) (Version, error) {
	if !strings.HasPrefix(text, "ClamAV ") {
		return Version{}, errs.New(errs.Invalid, "what answers is not clamd: %s", printable(text))
	}
	v := Version{Text: text}
	parts := strings.SplitN(text, "/", 3)
	if len(parts) == 3 {
		date, err := time.ParseInLocation(time.ANSIC, parts[2], time.UTC)
		if err != nil {
			return Version{}, errs.New(errs.Invalid, "the date of the signatures is not understood: %s", parts[2])
		}
		v.Date = date
	}
	return v, nil
}
