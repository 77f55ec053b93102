// A libcuda.so.1 of a driver for CUDA 12.4, as far as the CUDA runtime asks before it gives up.

#include <stddef.h>
#include <string.h>

int cuInit(unsigned flags) {
  (void)flags;
  return 0;
}

int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}

int cuGetProcAddress_v2(const char* symbol, void** function, int version, unsigned long long flags,
                        int* status);

static void* find(const char* symbol) {
  if (strcmp(symbol, "cuInit") == 0) return (void*)cuInit;
  if (strcmp(symbol, "cuDriverGetVersion") == 0) return (void*)cuDriverGetVersion;
  if (strcmp(symbol, "cuGetProcAddress") == 0) return (void*)cuGetProcAddress_v2;
  return NULL;
}

int cuGetProcAddress_v2(const char* symbol, void** function, int version, unsigned long long flags,
                        int* status) {
  (void)version;
  (void)flags;
  *function = find(symbol);
  if (status != NULL) *status = *function == NULL ? 1 : 0;
  return *function == NULL ? 500 : 0;
}

int cuGetProcAddress(const char* symbol, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
