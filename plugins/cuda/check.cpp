#include "plugins/cuda/check.hpp"

#include <string>

#include "miniinfer/sdk/host.hpp"

namespace miniinfer::cuda {
namespace {

std::string describe(cudaError_t error, const char* call) {
  return sdk::format("%s: %s (%d): %s", call, cudaGetErrorName(error), static_cast<int>(error),
                     cudaGetErrorString(error));
}

}  // namespace

bool is_sticky(cudaError_t error) noexcept {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

miniinfer_code code_of(cudaError_t error) noexcept {
  if (is_sticky(error)) return MINIINFER_DEVICE_LOST;
  switch (error) {
    case cudaSuccess:
      return MINIINFER_OK;
    case cudaErrorMemoryAllocation:
      return MINIINFER_OUT_OF_MEMORY;
    case cudaErrorInitializationError:
    case cudaErrorCudartUnloading:
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDeviceNotLicensed:
    case cudaErrorStartupFailure:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorSharedObjectInitFailed:
    case cudaErrorSharedObjectSymbolNotFound:
    case cudaErrorOperatingSystem:
    case cudaErrorNotPermitted:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsServerNotReady:
    case cudaErrorMpsMaxClientsReached:
    case cudaErrorMpsMaxConnectionsReached:
    case cudaErrorUnknown:
      return MINIINFER_UNAVAILABLE;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevicePointer:
    case cudaErrorInvalidHostPointer:
    case cudaErrorInvalidMemcpyDirection:
    case cudaErrorInvalidResourceHandle:
      return MINIINFER_INVALID_ARGUMENT;
    case cudaErrorNotReady:
      return MINIINFER_FAILED_PRECONDITION;
    case cudaErrorNotSupported:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorCapturedEvent:
    case cudaErrorStreamCaptureWrongThread:
      return MINIINFER_UNSUPPORTED;
    default:
      return MINIINFER_INTERNAL;
  }
}

miniinfer_code report(cudaError_t error, const char* call) noexcept {
  return sdk::detail::guard([&] { raise(error, call); });
}

void raise(cudaError_t error, const char* call) {
  static_cast<void>(cudaGetLastError());
  throw sdk::Error(code_of(error), describe(error, call));
}

}  // namespace miniinfer::cuda
