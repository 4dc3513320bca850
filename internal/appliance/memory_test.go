package appliance

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// The least limit of all control groups above holds, of both versions.
func TestMemoryOfControlGroups(t *testing.T) {
	if os.Getenv("GOMEMLIMIT") != "" {
		t.Skip("GOMEMLIMIT is set")
	}
	const none = math.MaxInt64
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no system that says": {nil, none},
		"version 2, of a group above": {map[string]string{
			"proc/self/cgroup":                                      "0::/system.slice/lazaret.service\n",
			"sys/fs/cgroup/system.slice/memory.max":                 "268435456\n",
			"sys/fs/cgroup/system.slice/lazaret.service/memory.max": "max\n",
		}, 256 << 20},
		"version 2, of its own, in a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"version 1": {map[string]string{
			"proc/self/cgroup": "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "2147483648\n",
		}, 1 << 30},
		"garbage": {map[string]string{"proc/self/cgroup": "x\n0::/../../b\n", "sys/fs/cgroup/b/memory.max": "-5\n"}, none},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			file = filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := groupLimit(root); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
		m := NewMemory(GatewayMemory, root)
		if c.want < none && m.Ceiling > c.want*3/4 || c.want == none && m.Ceiling != none {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// The soft limit follows what is in use, and ends at the ceiling; garbage alone
// never takes a gateway of the stated loads over its 512 MiB.
func TestMemoryLimit(t *testing.T) {
	free := Memory{Base: GatewayMemory, Ceiling: math.MaxInt64}
	small := Memory{Base: 153 << 20, Ceiling: 153 << 20}
	for _, c := range []struct {
		m          Memory
		live, want int64
	}{
		{free, 0, 384 << 20}, {free, 130 << 20, 384 << 20}, {free, 400 << 20, 664 << 20},
		{small, 0, 153 << 20}, {small, 400 << 20, 153 << 20},
	} {
		if got := c.m.limit(c.live); got != c.want {
			t.Errorf("%+v with %d live: %d", c.m, c.live, got)
		}
	}
	if b := free.Buffer(); b != 64<<20 {
		t.Errorf("write buffer of a free gateway: %d", b)
	}
	if b := small.Buffer(); 4*b > 153<<20/2 || b < 4<<20 {
		t.Errorf("write buffer of a small one: %d", b)
	}
}
