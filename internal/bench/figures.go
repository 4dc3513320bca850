package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// figure is one thing that was measured, once in each run.
type figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Runs   []float64 `json:"runs"`
}

// result is the contract of --json: names may be added, none changed.
type result struct {
	Bench      string         `json:"bench"`
	Parameters map[string]any `json:"parameters"`
	Machine    machine        `json:"machine"`
	Figures    []*figure      `json:"figures"`
}

type machine struct {
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	Go   string `json:"go"`
	When string `json:"when"`
}

func newResult(bench string, parameters map[string]any) *result {
	return &result{Bench: bench, Parameters: parameters, Machine: machine{
		CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), When: time.Now().UTC().Format(time.RFC3339),
	}}
}

// add notes one value of one run.
func (r *result) add(name, unit string, v float64) {
	for _, f := range r.Figures {
		if f.Name == name {
			f.Runs = append(f.Runs, v)
			return
		}
	}
	r.Figures = append(r.Figures, &figure{Name: name, Unit: unit, Runs: []float64{v}})
}

// ratio adds how many times as much the one figure is, of the medians.
func (r *result) ratio(name, of, to string) {
	a, b := r.find(of), r.find(to)
	if a == nil || b == nil || b.Median == 0 {
		return
	}
	v := a.Median / b.Median
	r.Figures = append(r.Figures, &figure{Name: name, Unit: "times", Median: v, Min: v, Max: v, Runs: []float64{v}})
}

func (r *result) find(name string) *figure {
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// close computes median, least and most.
func (r *result) close() {
	for _, f := range r.Figures {
		s := slices.Sorted(slices.Values(f.Runs))
		f.Min, f.Max = s[0], s[len(s)-1]
		f.Median = s[len(s)/2]
		if len(s)%2 == 0 {
			f.Median = (s[len(s)/2-1] + s[len(s)/2]) / 2
		}
	}
}

// write gives the result in the form that was asked for.
func (r *result) write(w io.Writer, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(r)
		if err != nil {
			return errs.Wrap(errs.Internal, err, "encoding the result")
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Bench, r.words())
	fmt.Fprintf(&b, "%-42s %12s  %s\n", "", "median", "least to most")
	for _, f := range r.Figures {
		spread := ""
		if len(f.Runs) > 1 {
			spread = "[" + number(f.Min) + " - " + number(f.Max) + "]"
		}
		fmt.Fprintf(&b, "%-42s %12s  %-22s %s\n", f.Name, number(f.Median), spread, f.Unit)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// words gives the parameters in the order of their names.
func (r *result) words() string {
	names := make([]string, 0, len(r.Parameters))
	for n := range r.Parameters {
		names = append(names, n)
	}
	slices.Sort(names)
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %v", n, r.Parameters[n])
	}
	return strings.Join(names, ", ") + fmt.Sprintf("; %d CPUs", r.Machine.CPUs)
}

// number writes three or four figures that mean something.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
