#ifndef MINIINFER_ABI_ABI_H
#define MINIINFER_ABI_ABI_H

// Everything of the boundary that is not a draft. Start reading at plugin.h.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/device.h"
#include "miniinfer/abi/host.h"
#include "miniinfer/abi/memory.h"
#include "miniinfer/abi/op.h"
#include "miniinfer/abi/op/attention.h"
#include "miniinfer/abi/op/contract.h"
#include "miniinfer/abi/op/conv.h"
#include "miniinfer/abi/op/copy.h"
#include "miniinfer/abi/op/gather.h"
#include "miniinfer/abi/op/norm.h"
#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/abi/op/resize.h"
#include "miniinfer/abi/op/select.h"
#include "miniinfer/abi/plugin.h"
#include "miniinfer/abi/stream.h"

#endif
