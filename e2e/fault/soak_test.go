package fault

import (
	"testing"
	"time"
)

// The line of least squares.
func TestSlope(t *testing.T) {
	var l []usage
	now := time.Now()
	for i := range 10 {
		l = append(l, usage{life: 1, at: now.Add(time.Duration(i) * time.Minute), resident: 100 + 3*float64(i)})
	}
	if s := slope(l, func(u usage) float64 { return u.resident }); s < 2.999 || s > 3.001 {
		t.Error(s)
	}
}
