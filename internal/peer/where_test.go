package peer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lazaret/internal/console"
	"lazaret/internal/tracking"
)

// A gateway's answer is taken whole, of half a megabyte too, and from it alone;
// one that hangs, is older, says too much or nonsense is an error with a cause.
func TestWhere(t *testing.T) {
	say := func(text string, status int) func(*gateway, string, console.Console) int {
		return func(_ *gateway, line string, c console.Console) int {
			word, question, _ := strings.Cut(line, " ")
			if q, err := tracking.DecodeQuery(question); word != WhereCommand || err != nil || q.Sender != "alice; status" {
				fmt.Fprintf(c, "asked %s: %v", line, err)
				return 1
			}
			fmt.Fprint(c, text)
			return status
		}
	}
	answer := tracking.Answer{Version: tracking.Version, Serial: serial}
	for range 500 {
		answer.Messages = append(answer.Messages, &tracking.Message{Subject: strings.Repeat("\x1b", 200)})
	}
	good, err := answer.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, cause string
		answer      func(*gateway, string, console.Console) int
	}{
		{"good", "", say(string(good)+"\n", 0)},
		{"hang", "no answer within 1s", func(g *gateway, _ string, _ console.Console) int { <-g.hold; return 0 }},
		{"older", "ended with status 2: Unknown command or missing feature key: cpqwhere", say("Unknown command or missing feature key: cpqwhere\n", 2)},
		{"nonsense", "not the JSON", say("hello\n", 0)},
		{"another", "not from GATEWAY0001", say(`{"version":1,"serial":"GATEWAY0002"}`, 0)},
		{"endless", "broken off", say(strings.Repeat("x", tracking.MaxWire+1), 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &faults{}
			g, who, o := paired(t, f, time.Minute)
			o.Where = time.Second
			if c.name != "hang" {
				o.Where = time.Minute
			}
			g.set(7125, c.answer)
			a, err := NewClient(o).Where(t.Context(), who, tracking.Query{Sender: "alice; status", Limit: 5})
			if c.cause == "" && (err != nil || len(a.Messages) != 500 || a.Messages[9].Subject != answer.Messages[9].Subject) {
				t.Errorf("%d messages, %v", len(a.Messages), err)
			}
			if c.cause != "" && (err == nil || !strings.Contains(err.Error(), c.cause)) {
				t.Errorf("error %v, want %q", err, c.cause)
			}
		})
	}
}
