package quarantine

import "context"

// OnTime does once what Run does every Options.ExpireEvery.
func (s *Service) OnTime(ctx context.Context) { s.onTime(ctx) }
