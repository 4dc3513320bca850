package manager

import (
	"context"
	"sync"
)

// signatures asks all gateways by which signatures they scan now.
func (m *Manager) signatures(ctx context.Context) map[string]string {
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[string]string{}
	slots := make(chan struct{}, atOnce)
	for _, a := range m.Config.Committed().Appliances {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			text, err := m.client.Signatures(ctx, toPeer(a))
			switch {
			case err == nil && text != "":
				mu.Lock()
				out[a.Serial] = text
				mu.Unlock()
			case err != nil && ctx.Err() == nil:
				m.Log.Warning("re-scan: " + err.Error())
			}
		})
	}
	wg.Wait()
	return out
}
