package stats

import "testing"

// The three columns of the status command over a restart and a reset.
func TestColumns(t *testing.T) {
	var s Set
	s.Add(MessagesReceived, 5)
	s.Reset()
	s.Add(MessagesReceived, 2)
	b, err := s.Save()
	if err != nil {
		t.Fatal(err)
	}
	var next Set
	if err := next.Restore(b); err != nil {
		t.Fatal(err)
	}
	next.Add(MessagesReceived, 1)
	if up, life, reset := next.Uptime(MessagesReceived), next.Lifetime(MessagesReceived), next.SinceReset(MessagesReceived); up != 1 || life != 8 || reset != 3 {
		t.Errorf("uptime %d, lifetime %d, since reset %d", up, life, reset)
	}
	if err := next.Restore([]byte("{")); err == nil {
		t.Error("damaged counters accepted")
	}
}
