# Lists the programs that ci/gpu_check.sh runs. The target gpu_check_programs builds them; gpu_check.list in the build
# folder says the stage and place of each.
set(lines "")
add_custom_target(gpu_check_programs)
function(ringside_gpu_check stage)
  foreach(program IN LISTS ARGN)
    if(TARGET ${program})
      add_dependencies(gpu_check_programs ${program})
      set(lines "${lines}${stage} $<TARGET_FILE:${program}>\n")
    endif()
  endforeach()
  set(lines "${lines}" PARENT_SCOPE)
endfunction()

ringside_gpu_check(all ringside kernel_times)
ringside_gpu_check(primitives primitives_test memory_test elementwise_test unfused_test softmax_test lightning_test
                              lightning_blocks_test operands_test)
ringside_gpu_check(communicators device_communicator_test)
ringside_gpu_check(nccl nccl_communicator_test)
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/gpu_check.list CONTENT "${lines}")
