#pragma once

// What the shared library shows. Plugins do not use this: they export one C symbol.

#if defined(__GNUC__)
#define MINIINFER_API [[gnu::visibility("default")]]
#else
#define MINIINFER_API
#endif
